//! What is noted in passing, outside revisions and audit.

use entitlements_core::{Revision, Timestamp};

use super::{
    read,
    session::{Row, Session, SqlError, values},
    sql,
};
use crate::workflow::{Kind, ObjectId};

/// Something to note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It happened once more.
    Count {
        /// What kind of thing, such as `sign_in_failed`.
        topic: &'static str,
        /// Which one.
        key: String,
        /// When.
        at: Timestamp,
    },
    /// It happened last at this instant.
    Seen {
        /// What kind of thing, such as `key_used`.
        topic: &'static str,
        /// Which one.
        key: String,
        /// When.
        at: Timestamp,
    },
    /// It counts no more.
    Forget {
        /// What kind of thing.
        topic: &'static str,
        /// Which one.
        key: String,
    },
    /// A browser was heard of.
    SessionSeen {
        /// Which.
        id_hash: [u8; 32],
        /// When.
        at: Timestamp,
    },
    /// How much of a limit a tenant used. An older word does not replace a newer one.
    Usage {
        /// Whose.
        tenant: String,
        /// Of which feature.
        feature: String,
        /// How much.
        amount: u64,
        /// When it was counted.
        at: Timestamp,
    },
    /// What a sidecar said of itself.
    Sidecar {
        /// Which.
        id: String,
        /// Its report.
        json: String,
        /// When.
        at: Timestamp,
    },
    /// A sidecar that is not to be shown any more.
    ForgetSidecar {
        /// Which.
        id: String,
    },
    /// Checks that a sidecar denied. A batch counts once.
    Denials {
        /// Which sidecar.
        sidecar: String,
        /// Which run of it.
        boot: String,
        /// Which batch of that run.
        batch: u64,
        /// Tenant, feature, reason, and how often.
        counts: Vec<(String, String, String, u64)>,
        /// When they arrived.
        at: Timestamp,
    },
    /// Denials of days before this instant, and sidecars that were not heard of since, are let go.
    PruneFleet {
        /// The instant.
        before: Timestamp,
    },
    /// The head of the audit, signed.
    Checkpoint {
        /// The last row that it covers.
        revision: Revision,
        /// The signed envelope.
        envelope: Vec<u8>,
    },
    /// A sign-in that went to an identity provider.
    PendingSignIn {
        /// Under what it is kept.
        state_hash: String,
        /// What is kept.
        json: String,
        /// From when on it is too late.
        expires_at: Timestamp,
    },
    /// Sign-ins for which it was too late before this instant need not be kept.
    PrunePending {
        /// The instant.
        before: Timestamp,
    },
    /// Versions that were replaced by this commit or before it need not be kept.
    PruneVersions {
        /// The commit.
        before: Revision,
    },
    /// Answers to requests before this instant need not be kept.
    PruneAnswers {
        /// The instant.
        before: Timestamp,
    },
    /// Sessions that were opened, or last heard of, before these instants are over.
    PruneSessions {
        /// Opened.
        created_before: Timestamp,
        /// Last heard of.
        seen_before: Timestamp,
    },
    /// What became of messages before this instant is forgotten, where nothing is owed any more.
    PruneOutbox {
        /// The instant.
        before: Timestamp,
    },
    /// Failed sign-ins before this instant are forgotten.
    PruneFailures {
        /// The instant.
        before: Timestamp,
    },
}

/// The topic under which failed sign-ins are counted, by address.
pub const SIGN_IN_FAILED: &str = "sign_in_failed";

/// Keeps notes, inside a transaction.
pub(super) fn keep(session: &mut dyn Session, notes: &[Note]) -> Result<(), SqlError> {
    for note in notes {
        one(session, note)?;
    }
    Ok(())
}

fn one(session: &mut dyn Session, note: &Note) -> Result<(), SqlError> {
    match note {
        Note::Count { topic, key, at } => {
            session.execute(sql::NOTE_COUNT, values![*topic, key, at.as_micros()])
        }
        Note::Seen { topic, key, at } => {
            session.execute(sql::NOTE_PUT, values![*topic, key, 1_i64, at.as_micros()])
        }
        Note::Forget { topic, key } => session.execute(sql::NOTE_DELETE, values![*topic, key]),
        Note::SessionSeen { id_hash, at } => {
            session.execute(sql::SESSION_SEEN, values![at.as_micros(), id_hash])
        }
        Note::Usage { tenant, feature, amount, at } => {
            let amount = i64::try_from(*amount).unwrap_or(i64::MAX);
            session.execute(sql::USAGE_PUT, values![tenant, feature, amount, at.as_micros()])
        }
        Note::Sidecar { id, json, at } => {
            session.execute(sql::SIDECAR_PUT, values![id, json, at.as_micros()])
        }
        Note::ForgetSidecar { id } => session.execute(sql::SIDECAR_DELETE, values![id]),
        Note::Denials { sidecar, boot, batch, counts, at } => {
            let number = i64::try_from(*batch).unwrap_or(i64::MAX);
            let values = values![sidecar, boot, number, at.as_micros()];
            if session.execute(sql::DENIAL_BATCH, values)? > 0 {
                denials(session, *at, counts)?;
            }
            Ok(0)
        }
        Note::PruneFleet { before } => {
            session.execute(sql::DENIAL_PRUNE, values![day(*before)])?;
            session.execute(sql::DENIAL_BATCH_PRUNE, values![before.as_micros()])?;
            session.execute(sql::SIDECAR_PRUNE, values![before.as_micros()])
        }
        Note::Checkpoint { revision, envelope } => {
            let values = values![read::integer(*revision), envelope.as_slice()];
            session.execute(sql::CHECKPOINT_PUT, values)
        }
        Note::PendingSignIn { state_hash, json, expires_at } => {
            session.execute(sql::PENDING_PUT, values![state_hash, json, expires_at.as_micros()])
        }
        Note::PrunePending { before } => {
            session.execute(sql::PENDING_PRUNE, values![before.as_micros()])
        }
        Note::PruneVersions { before } => {
            session.execute(sql::VERSION_PRUNE, values![read::integer(*before)])
        }
        Note::PruneAnswers { before } => {
            session.execute(sql::IDEMPOTENCY_PRUNE, values![before.as_micros()])
        }
        Note::PruneSessions { created_before, seen_before } => {
            let values = values![created_before.as_micros(), seen_before.as_micros()];
            session.execute(sql::SESSION_PRUNE, values)
        }
        Note::PruneOutbox { before } => {
            for sql in sql::OUTBOX_PRUNE {
                session.execute(sql, values![before.as_micros()])?;
            }
            Ok(0)
        }
        Note::PruneFailures { before } => {
            session.execute(sql::NOTE_PRUNE, values![SIGN_IN_FAILED, before.as_micros()])
        }
    }
    .map(drop)
}

fn denials(
    session: &mut dyn Session,
    at: Timestamp,
    counts: &[(String, String, String, u64)],
) -> Result<(), SqlError> {
    for (tenant, feature, reason, count) in counts {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        session.execute(sql::DENIAL_ADD, values![day(at), tenant, feature, reason, count])?;
    }
    Ok(())
}

/// Days since 1970-01-01, UTC.
pub(super) const fn day(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(24 * 3_600 * 1_000_000)
}

/// Takes or keeps a lease.
pub(super) fn lease(
    session: &mut dyn Session,
    name: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, SqlError> {
    let values = values![name, holder, until.as_micros(), now.as_micros()];
    Ok(session.execute(sql::LEASE_TAKE, values)? > 0)
}

/// Takes something that is due, so that nobody else does for a while. `false` where somebody has.
pub(super) fn claim_due(
    session: &mut dyn Session,
    id: &ObjectId,
    revision: Revision,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, SqlError> {
    let (until, now) = (until.as_micros(), now.as_micros());
    let values = values![until, id.kind.code(), &id.key, read::integer(revision), now];
    Ok(session.execute(sql::OBJECT_CLAIM, values)? > 0)
}

/// Puts off when something is to be looked at, where it is still as it was.
pub(super) fn postpone(
    session: &mut dyn Session,
    id: &ObjectId,
    revision: Revision,
    until: Option<Timestamp>,
) -> Result<(), SqlError> {
    let until = until.map(|at| at.as_micros());
    let values = values![until, id.kind.code(), &id.key, read::integer(revision)];
    session.execute(sql::OBJECT_POSTPONE, values).map(drop)
}

/// Makes due what somebody took who is gone.
pub(super) fn release(
    session: &mut dyn Session,
    kind: Kind,
    now: Timestamp,
    until: Timestamp,
) -> Result<(), SqlError> {
    let values = values![now.as_micros(), kind.code(), until.as_micros()];
    session.execute(sql::OBJECT_RELEASE, values).map(drop)
}

/// Takes a pending sign-in out: it is there once.
pub(super) fn take_pending(
    session: &mut dyn Session,
    state_hash: &str,
) -> Result<Option<String>, SqlError> {
    session.first(sql::PENDING_TAKE, values![state_hash], Row::text)
}

/// Keeps a fact where there is none yet, and says what holds.
pub(super) fn claim(
    session: &mut dyn Session,
    name: &str,
    value: &str,
) -> Result<String, SqlError> {
    session.execute(sql::META_CLAIM, values![name, value])?;
    let held = session.first(sql::META_GET, values![name], Row::text)?;
    held.ok_or_else(|| SqlError::Odd(format!("`{name}` was not kept")))
}
