//! The sidecars that follow us: what they report, and what all of them have.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use entitlements_core::{
    Revision, Timestamp,
    document::{Denials, Receipt, SinkStatus, StatusReply, StatusReport},
    signed::Tidings,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Actor, App, Call, Command, Error, connectors::notice, execute::Decided, parsed};
use crate::{
    store::Note,
    workflow::{
        Kind, ObjectId, Origin, Record, Write,
        fleet::{Member, tidings},
        notice::{Event, SinkTrouble},
    },
};

/// The most characters of a sidecar's name.
const NAME_CHARS_MAX: usize = 100;
/// The most sinks of one sidecar.
const SINKS_MAX: usize = 100;
/// The most receipts of one report.
const ROWS_MAX: usize = 1_000;
/// The most denials of one report.
const DENIALS_MAX: usize = 20_000;

/// What is known of the fleet.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    members: Mutex<BTreeMap<String, Member>>,
    tidings: watch::Sender<Tidings>,
    reports: watch::Sender<u64>,
}

impl Fleet {
    /// What all of them are told of each other.
    pub(super) fn tidings(&self) -> watch::Receiver<Tidings> {
        self.tidings.subscribe()
    }

    fn members(&self) -> Vec<Member> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.values().cloned().collect()
    }

    /// Takes up reports, the newer of two of one sidecar.
    fn take(&self, heard: impl IntoIterator<Item = Member>) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        for member in heard {
            let known = members.get(&member.report.sidecar);
            if known.is_none_or(|known| known.at <= member.at) {
                members.insert(member.report.sidecar.clone(), member);
            }
        }
    }

    fn forget(&self, sidecar: &str) -> bool {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.remove(sidecar).is_some()
    }

    /// Works out what to tell, and tells it where it is news.
    fn tell(&self, epoch: u64, now: Timestamp) {
        let news = tidings(&self.members(), epoch, now);
        self.tidings.send_if_modified(|told| {
            let is_news = *told != news;
            *told = news;
            is_news
        });
        self.reports.send_modify(|count| *count += 1);
    }
}

/// How the fleet is.
#[derive(Debug, Clone)]
pub struct FleetState {
    /// The epoch and the revision that all should serve.
    pub epoch: u64,
    /// As above.
    pub revision: Revision,
    /// What all of them were told.
    pub tidings: Tidings,
    /// Each sidecar, by name.
    pub members: Vec<Member>,
}

/// How often something was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Whom.
    pub tenant: String,
    /// What.
    pub feature: String,
    /// Why.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// A sink as it is kept, with its last receipts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptSink {
    sidecar: String,
    boot: String,
    /// The last receipt that was taken note of.
    through: u64,
    #[serde(flatten)]
    sink: SinkStatus,
    receipts: Vec<Receipt>,
}

impl App {
    pub(super) fn fleet(&self) -> &Fleet {
        &self.0.fleet
    }

    /// Takes a sidecar's report.
    ///
    /// # Errors
    /// Where it makes no sense, or cannot be kept.
    pub async fn note_status(
        &self,
        call: &Call,
        report: StatusReport,
    ) -> Result<StatusReply, Error> {
        check(&report)?;
        let StatusReport { sidecar, boot, .. } = &report;
        let (sidecar, boot, now) = (sidecar.clone(), boot.clone(), self.now());
        let receipts_through = report.receipts.last().map_or(0, |receipt| receipt.id);
        let denials_through = report.denials.as_ref().map_or(0, |denials| denials.batch);
        if !report.receipts.is_empty() {
            let (sinks, receipts) = (report.sinks.clone(), report.receipts.clone());
            let (sidecar, boot) = (sidecar.clone(), boot.clone());
            let command = Command::NoteReceipts { sidecar, boot, sinks, receipts };
            self.execute(call.clone(), command).await?;
        }
        let mut notes = Vec::new();
        if let Some(Denials { batch, counts, others }) = &report.denials {
            let count = |row: &entitlements_core::document::Denied| {
                (row.tenant.to_string(), row.feature.to_string(), row.reason.clone(), row.count)
            };
            // Those for which there was no room are nobody's in particular.
            let row = || (String::new(), String::new(), "others".to_owned(), *others);
            let others = (*others > 0).then(row);
            let counts = counts.iter().map(count).chain(others).collect();
            notes.push(Note::Denials {
                sidecar: sidecar.clone(),
                boot,
                batch: *batch,
                counts,
                at: now,
            });
        }
        // What was counted and pushed is kept elsewhere by now.
        let kept = StatusReport { receipts: Vec::new(), denials: None, ..report };
        let json = serde_json::to_string(&kept)
            .map_err(|error| Error::Unavailable(format!("a report cannot be written: {error}")))?;
        notes.push(Note::Sidecar { id: sidecar, json, at: now });
        self.keep_notes(notes).await?;
        let member = Member { report: kept, at: now };
        let lease_s = member.lease().as_secs();
        self.fleet().take([member]);
        self.fleet().tell(self.publisher().epoch(), now);
        Ok(StatusReply { lease_s, receipts_through, denials_through })
    }

    /// How the fleet is, as every control plane on this database knows it.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn fleet_state(&self) -> Result<FleetState, Error> {
        self.hear_others().await?;
        let (epoch, revision) = (self.publisher().epoch(), self.revision());
        let tidings = self.fleet().tidings.borrow().clone();
        Ok(FleetState { epoch, revision, tidings, members: self.fleet().members() })
    }

    /// Takes up what sidecars told other control planes, or this one before it was started.
    ///
    /// # Errors
    /// As [`App::fleet_state`].
    pub(crate) async fn hear_others(&self) -> Result<(), Error> {
        let rows = self.store().read(|store| store.sidecars()).await?;
        let member = |(json, at): (String, Timestamp)| {
            Ok(Member { report: parsed("a report of", "a sidecar", &json)?, at })
        };
        let members = rows.into_iter().map(member).collect::<Result<Vec<_>, Error>>()?;
        self.fleet().take(members);
        self.fleet().tell(self.publisher().epoch(), self.now());
        Ok(())
    }

    /// Where to wait for the next report.
    pub(crate) fn reports(&self) -> watch::Receiver<u64> {
        self.fleet().reports.subscribe()
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.fleet().members()
    }

    /// Shows a sidecar no more, until it reports again.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub async fn forget_sidecar(&self, id: &str) -> Result<(), Error> {
        if !self.fleet().forget(id) {
            return Err(Error::NotFound(format!("there is no sidecar `{id}`")));
        }
        self.keep_notes(vec![Note::ForgetSidecar { id: id.into() }]).await?;
        self.fleet().tell(self.publisher().epoch(), self.now());
        Ok(())
    }

    /// What sidecars denied most since the day of an instant, of the tenants that the actor sees.
    ///
    /// # Errors
    /// As [`App::fleet_state`].
    pub async fn denials(
        &self,
        actor: &Actor,
        since: Timestamp,
        tenant: String,
        limit: u32,
    ) -> Result<Vec<Denial>, Error> {
        let rows = self.store().read(move |store| store.denials(since, &tenant, limit)).await?;
        let denial = |(tenant, feature, reason, count)| Denial { tenant, feature, reason, count };
        let seen = rows.into_iter().map(denial).filter(|denial| actor.sees(&denial.tenant));
        Ok(seen.collect())
    }

    /// What was pushed stands in the history of its sink, each receipt once.
    pub(super) async fn decide_receipts(
        &self,
        origin: Origin,
        (sidecar, boot): (&str, &str),
        sinks: &[SinkStatus],
        receipts: &[Receipt],
    ) -> Result<Decided, Error> {
        let mut changes = origin.changeset(format!("sinks of sidecar {sidecar}"));
        for sink in sinks {
            let id = ObjectId::new(Kind::Sink, format!("{sidecar}/{}", sink.name));
            let wanted = id.clone();
            let present = self.store().read(move |store| store.object(&wanted)).await?;
            let before: Option<KeptSink> =
                present.as_ref().map(|row| parsed("sink", &id.key, &row.json)).transpose()?;
            let through = before.filter(|kept| kept.boot == boot).map_or(0, |kept| kept.through);
            let news: Vec<Receipt> = receipts
                .iter()
                .filter(|receipt| receipt.sink == sink.name && receipt.id > through)
                .cloned()
                .collect();
            let Some(last) = news.last() else { continue };
            for receipt in &news {
                if let Some(event) = told(sidecar, sink, receipt) {
                    let subject = format!("sink/{sidecar}/{}", sink.name);
                    changes.notices.push(notice(subject, changes.origin.at, &event)?);
                }
            }
            let kept = KeptSink {
                sidecar: sidecar.into(),
                boot: boot.into(),
                through: last.id,
                sink: sink.clone(),
                receipts: news,
            };
            let record =
                Record::of(&kept).map_err(|error| Error::Unavailable(error.to_string()))?;
            let expected = present.map(|row| row.revision);
            changes.writes.insert(id, Write { expected, after: Some(record) });
        }
        Ok(changes.into())
    }
}

/// What people want to hear of a push.
fn told(sidecar: &str, sink: &SinkStatus, receipt: &Receipt) -> Option<Event> {
    let trouble = SinkTrouble {
        sidecar: sidecar.into(),
        sink: sink.name.clone(),
        kind: sink.kind.clone(),
        revision: receipt.revision,
        changed: receipt.changed,
        detail: receipt.detail.clone(),
    };
    match receipt.outcome.as_str() {
        "drifted" => Some(Event::SinkDrifted(trouble)),
        "repaired" => Some(Event::SinkRepaired(trouble)),
        _ => None,
    }
}

fn check(report: &StatusReport) -> Result<(), Error> {
    let named = |what: &str, text: &str| {
        let fits = (1..=NAME_CHARS_MAX).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            return Ok(());
        }
        Err(Error::InvalidInput(format!(
            "`{what}` takes 1 to {NAME_CHARS_MAX} characters on one line"
        )))
    };
    named("sidecar", &report.sidecar)?;
    named("boot", &report.boot)?;
    report.sinks.iter().try_for_each(|sink| named("sinks.name", &sink.name))?;
    let few = |what: &str, count: usize, most: usize| match count <= most {
        true => Ok(()),
        false => Err(Error::InvalidInput(format!("`{what}` takes {most} rows at the most"))),
    };
    few("sinks", report.sinks.len(), SINKS_MAX)?;
    few("receipts", report.receipts.len(), ROWS_MAX)?;
    few("denials.counts", report.denials.as_ref().map_or(0, |it| it.counts.len()), DENIALS_MAX)
}
