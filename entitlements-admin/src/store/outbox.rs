//! What the outside world must be told, and what became of it.
//!
//! Notices come with a commit. Everything else here is noted as messages are routed, taken, sent and
//! recorded, outside revisions and audit.

use std::collections::BTreeMap;

use entitlements_core::{Revision, Timestamp};
use serde_json::Value;

use super::{
    read::{self, ReadError, Reading},
    session::{Row, Session, SqlError, values},
    sql,
};
use crate::workflow::{
    Kind, Notice, Redrive,
    delivery::{Outcome, Progress, Stage},
    lane::Lane,
    notice::{EventType, KeptNotice},
    routing::Dispatch,
    task::{External, Task, TaskState},
};

/// A notice, and to whom it goes.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The notice.
    pub notice: KeptNotice,
    /// To whom it goes, each with an id for its message.
    pub to: Vec<(String, Dispatch)>,
}

/// Which messages to take.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who takes them.
    pub holder: String,
    /// What is due by now.
    pub now: Timestamp,
    /// Until when they are its own.
    pub until: Timestamp,
    /// To these connectors only, with how many are under way to each.
    pub lanes: BTreeMap<String, usize>,
    /// At most so many in all.
    pub limit: usize,
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The message.
    pub delivery: DeliveryRow,
    /// What it tells of, oldest first.
    pub notices: Vec<KeptNotice>,
    /// What was opened last for its subject by its connector.
    pub task: Option<Task>,
    /// Whether whoever took it before went away without a word: it may have been sent.
    pub is_doubtful: bool,
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its id.
    pub id: String,
    /// By which connector.
    pub connector: String,
    /// To whom.
    pub team: String,
    /// By which rule.
    pub route: String,
    /// In which words.
    pub template: Option<String>,
    /// What it is about.
    pub subject: String,
    /// How far it has come.
    pub progress: Progress,
    /// How often it was tried or looked for in all.
    pub attempts: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// What there is to say about it.
    pub detail: Option<String>,
    /// The place of its first notice among all of them.
    pub order: (Revision, u32),
}

/// What came of a message that was taken.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Which.
    pub delivery: String,
    /// By which connector.
    pub connector: String,
    /// Who took it.
    pub holder: String,
    /// Which attempt it was.
    pub number: u32,
    /// When it was over.
    pub now: Timestamp,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What came of it, in a word.
    pub word: &'static str,
    /// The same for its destination; absent where nothing was asked of it.
    pub outcome: Option<Outcome>,
    /// What there is to say about it.
    pub detail: Option<String>,
    /// How far it has come now.
    pub progress: Progress,
    /// The follow-up as it is now, where it changed.
    pub task: Option<Task>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Counts up from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in microseconds; absent while it is under way, and where it was lost.
    pub took_us: Option<u64>,
    /// What came of it, in a word.
    pub outcome: String,
    /// What there is to say about it.
    pub detail: Option<String>,
}

/// Which notices to list. What is empty asks for nothing.
#[derive(Debug, Clone)]
pub struct NoticeSearch {
    /// Before this place.
    pub before: (Revision, u32),
    /// Of this type.
    pub event_type: String,
    /// About this tenant.
    pub tenant: String,
    /// About this subject.
    pub subject: String,
    /// Only those of which nobody is told.
    pub unrouted: bool,
    /// At most so many.
    pub limit: u32,
}

/// Which messages to list. What is empty asks for nothing.
#[derive(Debug, Clone)]
pub struct DeliverySearch {
    /// Before this place, and this id there.
    pub before: (Revision, u32, String),
    /// In this stage.
    pub stage: String,
    /// By this connector.
    pub connector: String,
    /// About this subject.
    pub subject: String,
    /// That tell of this notice.
    pub notice: String,
    /// At most so many.
    pub limit: u32,
}

impl DeliverySearch {
    /// All of them, the newest first.
    #[must_use]
    pub fn of_all(limit: u32) -> Self {
        Self {
            before: (Revision(i64::MAX.unsigned_abs()), 0, String::new()),
            stage: String::new(),
            connector: String::new(),
            subject: String::new(),
            notice: String::new(),
            limit,
        }
    }
}

/// Which follow-ups to list. What is empty asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct TaskSearch {
    /// After this id.
    pub after: String,
    /// About this subject.
    pub subject: String,
    /// In this state.
    pub state: String,
    /// By this connector.
    pub connector: String,
    /// At most so many.
    pub limit: u32,
}

/// How much is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxState {
    /// How many messages are owed.
    pub open: u64,
    /// Since when the oldest of them is due.
    pub due_since: Option<Timestamp>,
    /// How many were given up.
    pub dead: u64,
}

/// Keeps notices with the commit that they come with.
pub(super) fn put_notices(
    session: &mut dyn Session,
    revision: Revision,
    notices: &[Notice],
) -> Result<(), SqlError> {
    for (place, notice) in (0_u32..).zip(notices) {
        let data = notice.data.to_string();
        session.execute(
            sql::NOTICE_PUT,
            values![
                &notice.id,
                read::integer(revision),
                place,
                notice.at.as_micros(),
                notice.event_type.code(),
                notice.tenant.as_ref(),
                &notice.subject,
                &data,
            ],
        )?;
    }
    Ok(())
}

/// Gives up what is owed to a connector that is removed.
pub(super) fn drop_owed(
    session: &mut dyn Session,
    connector: &str,
    now: Timestamp,
) -> Result<(), SqlError> {
    session.execute(sql::DELIVERY_DROP, values![now.as_micros(), connector]).map(drop)
}

/// Sets messages going again.
pub(super) fn redrive(
    session: &mut dyn Session,
    redrive: &Redrive,
    now: Timestamp,
) -> Result<(), SqlError> {
    match redrive {
        Redrive::One(id) => session.execute(sql::DELIVERY_AGAIN, values![now.as_micros(), id]),
        Redrive::Failed { between: (since, until), connector } => session.execute(
            sql::DELIVERY_ALL_AGAIN,
            values![now.as_micros(), since.as_micros(), until.as_micros(), connector],
        ),
        Redrive::Missing { between: (since, until) } => {
            session.execute(sql::NOTICE_AGAIN, values![since.as_micros(), until.as_micros()])
        }
    }
    .map(drop)
}

/// Notes to whom notices go. One that another process was quicker with is left alone.
pub(super) fn route(
    session: &mut dyn Session,
    routed: &[Routed],
    now: Timestamp,
) -> Result<usize, SqlError> {
    let mut made = 0;
    for Routed { notice, to } in routed {
        let id = &notice.notice.id;
        if session.execute(sql::NOTICE_ROUTED, values![now.as_micros(), id])? == 0 {
            continue;
        }
        for (delivery, dispatch) in to {
            made += usize::from(dispatch_one(session, notice, delivery, dispatch, now)?);
        }
    }
    Ok(made)
}

/// Whether a new message came of it.
fn dispatch_one(
    session: &mut dyn Session,
    notice: &KeptNotice,
    delivery: &str,
    dispatch: &Dispatch,
    now: Timestamp,
) -> Result<bool, SqlError> {
    let Dispatch { route, team, connector, template, is_ordered, due_at, bin } = dispatch;
    // One that was removed meanwhile is told nothing.
    let values = values![Kind::Connector.code(), connector];
    if session.first(sql::OBJECT_GET, values, |_| Ok(()))?.is_none() {
        return Ok(false);
    }
    let joined = match bin {
        None => None,
        Some((name, _)) => {
            let values = values![route, name, now.as_micros()];
            session.first(sql::DELIVERY_BIN, values, Row::text)?
        }
    };
    let id = joined.as_deref().unwrap_or(delivery);
    let values = values![&notice.notice.id, connector, id];
    // Each connector is told once of a notice, also where the rules are gone by again.
    if session.execute(sql::DELIVERY_NOTICE_PUT, values)? == 0 || joined.is_some() {
        return Ok(false);
    }
    let (name, until) = bin.as_ref().map(|(name, until)| (name, until.as_micros())).unzip();
    session.execute(
        sql::DELIVERY_PUT,
        values![
            delivery,
            connector,
            team,
            route,
            template.as_ref(),
            &notice.notice.subject,
            i64::from(*is_ordered),
            read::integer(notice.revision),
            notice.place,
            name,
            until,
            due_at.as_micros(),
            now.as_micros(),
        ],
    )?;
    Ok(true)
}

/// Takes messages that are due, as many for each destination as it has room for. The destinations
/// that have least under way come first.
pub(super) fn claim(session: &mut dyn Session, claim: &Claim) -> Result<Vec<Claimed>, SqlError> {
    let mut lanes: Vec<(usize, &str)> =
        claim.lanes.iter().map(|(connector, count)| (*count, connector.as_str())).collect();
    lanes.sort_unstable();
    let (mut claimed, mut left) = (Vec::new(), claim.limit);
    for (under_way, connector) in lanes {
        let room = lane(session, connector)?.room(under_way, claim.now).min(left);
        if room == 0 {
            continue;
        }
        let ids = claim_lane(session, claim, connector, room)?;
        left = left.saturating_sub(ids.len());
        for id in ids {
            claimed.extend(taken(session, &id, claim.now)?);
        }
    }
    Ok(claimed)
}

fn claim_lane(
    session: &mut dyn Session,
    claim: &Claim,
    connector: &str,
    room: usize,
) -> Result<Vec<String>, SqlError> {
    let Claim { holder, now, until, .. } = claim;
    let room = i64::try_from(room).unwrap_or(i64::MAX);
    let values = values![holder, until.as_micros(), connector, now.as_micros(), room];
    session.all(sql::DELIVERY_CLAIM, values, Row::text)
}

/// A message that was just taken, with all that it takes to send it.
fn taken(session: &mut dyn Session, id: &str, now: Timestamp) -> Result<Option<Claimed>, SqlError> {
    let Some(delivery) = session.first(sql::DELIVERY_GET, values![id], delivery_row)? else {
        return Ok(None);
    };
    let is_doubtful = session.execute(sql::ATTEMPT_LOST, values![id])? > 0;
    session.execute(sql::ATTEMPT_PUT, values![id, delivery.attempts, now.as_micros()])?;
    let notices = session.all(sql::NOTICE_OF_DELIVERY, values![id], kept_notice)?;
    let values = values![&delivery.connector, &delivery.subject];
    let task = session.first(sql::TASK_LAST, values, task_row)?;
    let notices = notices.into_iter().map(|(notice, _)| notice).collect();
    Ok(Some(Claimed { delivery, notices, task, is_doubtful }))
}

/// Records what came of messages. Where another process took one over meanwhile, its word counts.
pub(super) fn record(session: &mut dyn Session, all: &[Recorded]) -> Result<(), SqlError> {
    for one in all {
        let took = i64::try_from(one.took_us).unwrap_or(i64::MAX);
        let detail = one.detail.as_ref();
        let values = values![took, one.word, detail, &one.delivery, one.number];
        session.execute(sql::ATTEMPT_DONE, values)?;
        let Progress { stage, tries, searches, doubtful_since, due_at } = one.progress;
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        let finished_at = (!stage.is_open()).then(|| one.now.as_micros());
        session.execute(
            sql::DELIVERY_AFTER,
            values![
                stage.code(),
                tries,
                searches,
                micros(doubtful_since),
                micros(due_at),
                finished_at,
                detail,
                &one.delivery,
                &one.holder,
            ],
        )?;
        if let Some(task) = &one.task {
            put_task(session, task)?;
        }
        if let Some(outcome) = one.outcome {
            let before = lane(session, &one.connector)?;
            let after = before.after(outcome, one.now);
            if after != before {
                let values = values![&one.connector, after.failures, micros(after.closed_until)];
                session.execute(sql::LANE_PUT, values)?;
            }
        }
    }
    Ok(())
}

fn lane(session: &mut dyn Session, connector: &str) -> Result<Lane, SqlError> {
    let found = session.first(sql::LANE_GET, values![connector], lane_row)?;
    Ok(found.unwrap_or_default())
}

fn lane_row(row: &mut Row) -> Result<Lane, SqlError> {
    let failures = number(row.integer()?);
    Ok(Lane { failures, closed_until: instant(row)? })
}

/// Keeps a follow-up.
pub(super) fn put_task(session: &mut dyn Session, task: &Task) -> Result<(), SqlError> {
    let Task { id, connector, subject, opened_by, external, .. } = task;
    session
        .execute(
            sql::TASK_PUT,
            values![
                id,
                connector,
                subject,
                task.state.code(),
                opened_by,
                &external.id,
                external.handle.as_ref(),
                external.url.as_ref(),
                task.opened_at.as_micros(),
                task.changed_at.as_micros(),
                task.closed_at.map(Timestamp::as_micros),
                i64::from(task.is_shown),
            ],
        )
        .map(drop)
}

impl Reading<'_> {
    /// At most `limit` notices of which nobody has decided yet whom to tell, oldest first.
    ///
    /// # Errors
    /// Where the database fails, as for all of these.
    pub fn unrouted(&self, limit: u32) -> Result<Vec<KeptNotice>, ReadError> {
        let rows = self.all(sql::NOTICE_UNROUTED, values![limit], kept_notice)?;
        Ok(rows.into_iter().map(|(notice, _)| notice).collect())
    }

    /// A notice, and whether it was decided whom to tell.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn notice_of(&self, id: &str) -> Result<Option<(KeptNotice, bool)>, ReadError> {
        self.first(sql::NOTICE_GET, values![id], kept_notice)
    }

    /// The notices that a search asks for, newest first, and whether it was decided whom to tell.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn notice_search(
        &self,
        search: &NoticeSearch,
    ) -> Result<Vec<(KeptNotice, bool)>, ReadError> {
        let (revision, place) = search.before;
        let values = values![
            read::integer(revision),
            place,
            &search.event_type,
            &search.tenant,
            &search.subject,
            i64::from(search.unrouted),
            search.limit,
        ];
        self.all(sql::NOTICE_LIST, values, kept_notice)
    }

    /// The notices that a message tells of, oldest first.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn notices_of_delivery(&self, id: &str) -> Result<Vec<KeptNotice>, ReadError> {
        let rows = self.all(sql::NOTICE_OF_DELIVERY, values![id], kept_notice)?;
        Ok(rows.into_iter().map(|(notice, _)| notice).collect())
    }

    /// A message.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn delivery(&self, id: &str) -> Result<Option<DeliveryRow>, ReadError> {
        self.first(sql::DELIVERY_GET, values![id], delivery_row)
    }

    /// The messages that a search asks for, newest first.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn delivery_search(&self, search: &DeliverySearch) -> Result<Vec<DeliveryRow>, ReadError> {
        let (revision, place, id) = &search.before;
        let values = values![
            read::integer(*revision),
            *place,
            id,
            &search.stage,
            &search.connector,
            &search.subject,
            &search.notice,
            search.limit,
        ];
        self.all(sql::DELIVERY_LIST, values, delivery_row)
    }

    /// The attempts of a message, oldest first.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn attempts(&self, delivery: &str) -> Result<Vec<Attempt>, ReadError> {
        self.all(sql::ATTEMPT_LIST, values![delivery], |row| {
            Ok(Attempt {
                number: number(row.integer()?),
                at: Timestamp::from_micros(row.integer()?),
                took_us: row.maybe_integer()?.map(i64::unsigned_abs),
                outcome: row.text()?,
                detail: row.maybe_text()?,
            })
        })
    }

    /// The follow-ups that a search asks for, by id.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn tasks(&self, search: &TaskSearch) -> Result<Vec<Task>, ReadError> {
        let TaskSearch { after, subject, state, connector, limit } = search;
        self.all(sql::TASK_LIST, values![after, subject, state, connector, *limit], task_row)
    }

    /// A follow-up that is shown.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn task(&self, id: &str) -> Result<Option<Task>, ReadError> {
        self.first(sql::TASK_GET, values![id], task_row)
    }

    /// The follow-up of this name elsewhere.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn task_of_external(
        &self,
        connector: &str,
        external: &str,
    ) -> Result<Option<Task>, ReadError> {
        self.first(sql::TASK_EXTERNAL, values![connector, external], task_row)
    }

    /// How each destination is that is not simply well.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn lanes(&self) -> Result<BTreeMap<String, Lane>, ReadError> {
        let rows = self.all(sql::LANE_ALL, &[], |row| Ok((row.text()?, lane_row(row)?)))?;
        Ok(rows.into_iter().collect())
    }

    /// When the first message is due that is owed.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn first_delivery(&self) -> Result<Option<Timestamp>, ReadError> {
        Ok(self.first(sql::DELIVERY_FIRST, &[], instant)?.flatten())
    }

    /// How much is owed.
    ///
    /// # Errors
    /// As [`Reading::unrouted`].
    pub fn outbox(&self) -> Result<OutboxState, ReadError> {
        let count = |row: &mut Row| Ok(row.integer()?.unsigned_abs());
        let open = self.first(sql::DELIVERY_OPEN, &[], |row| Ok((count(row)?, instant(row)?)))?;
        let (open, due_since) = open.unwrap_or_default();
        let dead = self.first(sql::DELIVERY_DEAD, &[], count)?.unwrap_or_default();
        Ok(OutboxState { open, due_since, dead })
    }
}

/// A notice, and whether it was decided whom to tell.
fn kept_notice(row: &mut Row) -> Result<(KeptNotice, bool), SqlError> {
    let (id, revision, place) = (row.text()?, row.integer()?, number(row.integer()?));
    let (at, code) = (Timestamp::from_micros(row.integer()?), row.text()?);
    let (tenant, subject, data) = (row.maybe_text()?, row.text()?, row.text()?);
    let is_routed = row.maybe_integer()?.is_some();
    let odd = |what: &str| SqlError::Odd(format!("notice `{id}`: {what}"));
    let event_type =
        EventType::of_code(&code).ok_or_else(|| odd(&format!("`{code}` is no type of event")))?;
    let data: Value = serde_json::from_str(&data).map_err(|error| odd(&error.to_string()))?;
    let revision = Revision(revision.unsigned_abs());
    let notice = Notice { id, event_type, tenant, subject, at, data };
    Ok((KeptNotice { notice, revision, place }, is_routed))
}

fn delivery_row(row: &mut Row) -> Result<DeliveryRow, SqlError> {
    let (id, connector, team) = (row.text()?, row.text()?, row.text()?);
    let (route, template, subject) = (row.text()?, row.maybe_text()?, row.text()?);
    let code = row.text()?;
    let stage = Stage::of_code(&code)
        .ok_or_else(|| SqlError::Odd(format!("delivery `{id}`: `{code}` is no stage")))?;
    let (tries, searches) = (number(row.integer()?), number(row.integer()?));
    let attempts = number(row.integer()?);
    let (doubtful_since, due_at) = (instant(row)?, instant(row)?);
    let created_at = Timestamp::from_micros(row.integer()?);
    let (finished_at, detail) = (instant(row)?, row.maybe_text()?);
    let order = (Revision(row.integer()?.unsigned_abs()), number(row.integer()?));
    let progress = Progress { stage, tries, searches, doubtful_since, due_at };
    Ok(DeliveryRow {
        id,
        connector,
        team,
        route,
        template,
        subject,
        progress,
        attempts,
        created_at,
        finished_at,
        detail,
        order,
    })
}

fn task_row(row: &mut Row) -> Result<Task, SqlError> {
    let (id, connector, subject) = (row.text()?, row.text()?, row.text()?);
    let state = match row.text()?.as_str() {
        "open" => TaskState::Open,
        _ => TaskState::Closed,
    };
    let opened_by = row.text()?;
    let external = External { id: row.text()?, handle: row.maybe_text()?, url: row.maybe_text()? };
    Ok(Task {
        id,
        connector,
        subject,
        state,
        opened_by,
        external,
        opened_at: Timestamp::from_micros(row.integer()?),
        changed_at: Timestamp::from_micros(row.integer()?),
        closed_at: instant(row)?,
        is_shown: row.integer()? != 0,
    })
}

fn instant(row: &mut Row) -> Result<Option<Timestamp>, SqlError> {
    Ok(row.maybe_integer()?.map(Timestamp::from_micros))
}

fn number(integer: i64) -> u32 {
    u32::try_from(integer).unwrap_or(u32::MAX)
}
