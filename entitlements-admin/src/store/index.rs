//! What objects are found and counted by: rows that come with their documents, in the same commit.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{Revision, Timestamp};

use super::{
    read::{self, ReadError, Reading},
    session::{Row, Session, SqlError, values},
    sql,
};
use crate::workflow::{
    Index, Kind, ObjectId,
    request::{PromiseRow, RequestRow},
};

/// Which requests to list. What is empty asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSearch {
    /// Of this tenant.
    pub tenant: String,
    /// For this listing.
    pub listing: String,
    /// In this stage.
    pub stage: String,
    /// Of this partner.
    pub partner: String,
    /// Looked after by this team.
    pub team: String,
    /// Only those that go on.
    pub open: bool,
    /// Only those with a promise whose time is over before this instant and that nobody keeps.
    pub due_before: Option<Timestamp>,
    /// Those that come after this one: by when it was made, and its id.
    pub after: Option<(Timestamp, String)>,
    /// At most so many.
    pub limit: u32,
}

impl RequestSearch {
    /// All of them, at most so many.
    #[must_use]
    pub fn of_all(limit: u32) -> Self {
        let none = String::new;
        Self {
            tenant: none(),
            listing: none(),
            stage: none(),
            partner: none(),
            team: none(),
            open: false,
            due_before: None,
            after: None,
            limit,
        }
    }
}

/// How many promises of one sort are in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The month in which they began, such as `2026-03`, by UTC.
    pub month: String,
    /// For which listing.
    pub listing: String,
    /// Of which team; empty where of none.
    pub team: String,
    /// Of which partner; empty where of none.
    pub partner: String,
    /// How much they matter.
    pub priority: String,
    /// What was promised.
    pub metric: String,
    /// The word for the state.
    pub state: String,
    /// Whether their time is over.
    pub is_late: bool,
    /// How many.
    pub count: u64,
    /// How much work went by in those that have ended, in microseconds.
    pub used_us: u64,
}

/// The most promises of a request: one for each metric.
const PROMISES_MAX: u32 = 3;

/// What is kept of an object that is found anew, beside any commit.
#[derive(Debug, Clone)]
pub(crate) struct Reindexed {
    pub(crate) id: ObjectId,
    pub(crate) revision: Revision,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) index: Index,
}

/// Keeps what an object is found and counted by.
pub(super) fn put(session: &mut dyn Session, key: &str, index: &Index) -> Result<(), SqlError> {
    match index {
        Index::Request(row) => put_request(session, key, row),
        Index::Holding { tenant, is_active } => {
            let is_active = i64::from(*is_active);
            session.execute(sql::HOLDING_PUT, values![key, tenant, is_active]).map(drop)
        }
    }
}

/// Keeps what an object is found by where it is still the one that was looked at.
pub(super) fn reindex(session: &mut dyn Session, all: &[Reindexed]) -> Result<usize, SqlError> {
    let mut count = 0;
    for one in all {
        let due_at = one.due_at.map(|at| at.as_micros());
        let (kind, revision) = (one.id.kind.code(), read::integer(one.revision));
        let values = values![due_at, kind, &one.id.key, revision];
        if session.execute(sql::OBJECT_POSTPONE, values)? > 0 {
            put(session, &one.id.key, &one.index)?;
            count += 1;
        }
    }
    Ok(count)
}

fn put_request(session: &mut dyn Session, id: &str, row: &RequestRow) -> Result<(), SqlError> {
    let before = session.all(sql::PROMISE_OF, values![id], |row| {
        Ok((row.text()?, row.text()?, row.integer()?, row.integer()?, row.integer()?))
    })?;
    // Listing, team and the like of a request stay as they are: what was counted is found again.
    for (metric, state, started_at, is_late, used_us) in &before {
        let month = month(Timestamp::from_micros(*started_at));
        let of = values![
            &month,
            &row.listing,
            &row.team,
            &row.partner,
            &row.priority,
            metric,
            state,
            *is_late,
            -1_i64,
            -used_us,
        ];
        session.execute(sql::TALLY_ADD, of)?;
    }
    session.execute(sql::PROMISE_DROP, values![id])?;
    let values = values![
        id,
        &row.tenant,
        &row.listing,
        &row.partner,
        &row.team,
        &row.priority,
        &row.stage,
        i64::from(row.is_open),
        row.created_at.as_micros(),
    ];
    session.execute(sql::REQUEST_PUT, values)?;
    row.promises.iter().try_for_each(|promise| put_promise(session, id, row, promise))
}

fn put_promise(
    session: &mut dyn Session,
    id: &str,
    row: &RequestRow,
    promise: &PromiseRow,
) -> Result<(), SqlError> {
    let (metric, state) = (promise.metric.code(), promise.state.code());
    let (is_late, started_at) = (i64::from(promise.is_late), promise.started_at.as_micros());
    let due_at = promise.due_at.map(|at| at.as_micros());
    let calendar = promise.calendar.as_ref();
    let values = values![id, metric, state, calendar, started_at, due_at, is_late, promise.used_us];
    session.execute(sql::PROMISE_PUT, values)?;
    let month = month(promise.started_at);
    let of = values![
        &month,
        &row.listing,
        &row.team,
        &row.partner,
        &row.priority,
        metric,
        state,
        is_late,
        1_i64,
        promise.used_us,
    ];
    session.execute(sql::TALLY_ADD, of).map(drop)
}

/// The month of an instant, by UTC.
fn month(at: Timestamp) -> String {
    at.to_string().chars().take(7).collect()
}

impl Reading<'_> {
    /// The requests that a search asks for, newest first; those whose promises are over first where
    /// it asks for those.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn requests(&self, search: &RequestSearch) -> Result<Vec<read::Listed>, ReadError> {
        let RequestSearch { tenant, listing, stage, partner, team, .. } = search;
        if let Some(before) = search.due_before {
            let before = before.as_micros();
            // One request has as many rows as promises that are over.
            let rows_max = search.limit.saturating_mul(PROMISES_MAX);
            let values = values![before, tenant, listing, stage, partner, team, rows_max];
            let rows = self.all(sql::REQUEST_DUE, values, read::listed)?;
            let mut known = BTreeSet::new();
            let once = rows
                .into_iter()
                .filter(|row| row.as_ref().map_or(true, |row| known.insert(row.key.clone())));
            return once.take(search.limit as usize).collect();
        }
        let (at, id) = match &search.after {
            Some((at, id)) => (at.as_micros(), id.as_str()),
            None => (i64::MAX, ""),
        };
        let by = [
            (tenant.as_str(), sql::REQUEST_LIST_TENANT),
            (listing.as_str(), sql::REQUEST_LIST_LISTING),
            (stage.as_str(), sql::REQUEST_LIST_STAGE),
            (partner.as_str(), sql::REQUEST_LIST_PARTNER),
        ];
        let (first, text) = by
            .into_iter()
            .find(|(asked, _)| !asked.is_empty())
            .unwrap_or(("", if search.open { sql::REQUEST_LIST_OPEN } else { sql::REQUEST_LIST }));
        let (open, limit) = (i64::from(search.open), search.limit);
        let values = values![first, at, id, tenant, listing, stage, partner, team, open, limit];
        let rows = self.all(text, values, read::listed)?;
        rows.into_iter().collect()
    }

    /// How many requests are in each stage that goes on, of a partner or of all.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn request_counts(&self, partner: &str) -> Result<BTreeMap<String, u64>, ReadError> {
        let rows = self.all(sql::REQUEST_COUNTS, values![partner], |row| {
            Ok((row.text()?, row.integer()?.unsigned_abs()))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// Requests that have a promise by this calendar and wait for it, by id.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn requests_of_calendar(
        &self,
        calendar: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<read::Listed>, ReadError> {
        let values = values![calendar, after, limit];
        let rows = self.all(sql::PROMISE_OF_CALENDAR, values, read::listed)?;
        rows.into_iter().collect()
    }

    /// How many promises are in which state, of those that began in these months.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn tally(&self, from: &str, until: &str, partner: &str) -> Result<Vec<Tally>, ReadError> {
        self.all(sql::TALLY_ALL, values![from, until, partner], tally)
    }

    /// What a tenant has, or had, by requests.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn holdings_of(&self, tenant: &str) -> Result<Vec<read::Listed>, ReadError> {
        let rows = self.all(sql::HOLDING_LIST, values![tenant], read::listed)?;
        rows.into_iter().collect()
    }

    /// The commit with which a request came into force.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn granted(&self, request: &str) -> Result<Option<Revision>, ReadError> {
        let values = values![request, "%\"granted_at\":%"];
        let found = self.first(sql::REQUEST_GRANTED, values, Row::maybe_integer)?;
        found.flatten().map(read::revision).transpose()
    }

    /// Whether there are requests that no list knows.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn lacks_requests(&self) -> Result<bool, ReadError> {
        let known = self.first(sql::REQUEST_COUNT, &[], Row::integer)?;
        let kind = Kind::Request.code();
        Ok(known != self.first(sql::OBJECT_COUNT, values![kind], Row::integer)?)
    }
}

fn tally(row: &mut Row) -> Result<Tally, SqlError> {
    Ok(Tally {
        month: row.text()?,
        listing: row.text()?,
        team: row.text()?,
        partner: row.text()?,
        priority: row.text()?,
        metric: row.text()?,
        state: row.text()?,
        is_late: row.integer()? != 0,
        count: row.integer()?.unsigned_abs(),
        used_us: row.integer()?.unsigned_abs(),
    })
}
