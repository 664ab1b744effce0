//! Every SQL statement, once.
//!
//! `SQLite` numbers `$1`, `$2`, … by the order in which they appear, `PostgreSQL` by the digits. So
//! the digits must appear in order; a test below sees to it.

macro_rules! statements {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) const $name: &str = $text;)*
        #[cfg(test)]
        const ALL: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}

statements! {
    META_GET = "SELECT value FROM meta WHERE name = $1";

    META_CLAIM = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

    COUNTER_GET = "SELECT value FROM counter WHERE name = $1";
    COUNTER_NEXT = "UPDATE counter SET value = value + 1 WHERE name = $1 RETURNING value";

    COUNTER_PUT = "INSERT INTO counter (name, value) VALUES ($1, $2)
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";

    OBJECT_GET = "SELECT json, revision, secret FROM object WHERE kind = $1 AND key = $2";
    OBJECT_PUT = "INSERT INTO object (kind, key, revision, json, secret, due_at)
                  VALUES ($1, $2, $3, $4, $5, $6)
                  ON CONFLICT (kind, key) DO UPDATE
                  SET revision = excluded.revision, json = excluded.json,
                      secret = excluded.secret, due_at = excluded.due_at";
    OBJECT_DELETE = "DELETE FROM object WHERE kind = $1 AND key = $2";
    OBJECT_LIST = "SELECT key, json, revision FROM object
                   WHERE kind = $1 AND key > $2 ORDER BY key LIMIT $3";
    OBJECT_ALL = "SELECT key, json, revision FROM object WHERE kind = $1 ORDER BY key";
    OBJECT_DUE = "SELECT key, json, revision FROM object
                  WHERE kind = $1 AND due_at <= $2 ORDER BY due_at, key";
    OBJECT_NEXT_DUE = "SELECT min(due_at) FROM object WHERE due_at IS NOT NULL";

    VERSION_PUT = "INSERT INTO version (kind, key, revision, json) VALUES ($1, $2, $3, $4)";
    VERSION_GET = "SELECT json FROM version WHERE kind = $1 AND key = $2 AND revision = $3";
    VERSION_AS_OF = "SELECT revision, json FROM version
                     WHERE kind = $1 AND key = $2 AND revision <= $3
                     ORDER BY revision DESC LIMIT 1";
    VERSION_HISTORY = "SELECT version.revision, audit.at, audit.actor, audit.command, audit.reason,
                              version.json
                       FROM version JOIN audit ON audit.revision = version.revision
                       WHERE version.kind = $1 AND version.key = $2 AND version.revision < $3
                       ORDER BY version.revision DESC LIMIT $4";
    VERSION_SINCE = "SELECT kind, key, revision, json FROM version
                     WHERE revision > $1 AND kind IN ('catalog', 'tenant', 'barrier') ORDER BY revision, key";
    VERSION_RANGE = "SELECT kind, key, revision, json FROM version
                     WHERE revision > $1 AND revision <= $2 ORDER BY revision, kind, key";
    OBJECT_STRAY = "SELECT object.kind, object.key, object.revision FROM object
                    LEFT JOIN version ON version.kind = object.kind AND version.key = object.key
                                     AND version.revision = object.revision
                    WHERE version.json IS NULL OR version.json <> object.json
                    ORDER BY object.kind, object.key LIMIT 1";
    // The newest version at or before the horizon is what was in force at the horizon: it stays.
    VERSION_PRUNE = "DELETE FROM version WHERE revision < $1 AND EXISTS
                     (SELECT 1 FROM version AS later
                      WHERE later.kind = version.kind AND later.key = version.key
                        AND later.revision > version.revision AND later.revision <= $1)";

    AUDIT_LAST = "SELECT hash, at FROM audit ORDER BY revision DESC LIMIT 1";
    AUDIT_PUT = "INSERT INTO audit
                 (revision, at, actor, principal, address, command, subject, reason, request_id,
                  changes, prev_hash, hash)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    AUDIT_LIST = "SELECT revision, at, actor, principal, address, command, subject, reason,
                         request_id, changes, prev_hash, hash
                  FROM audit WHERE revision > $1 AND revision < $2 ORDER BY revision LIMIT $3";
    AUDIT_SEARCH = "SELECT revision, at, actor, principal, address, command, subject, reason,
                           request_id, changes, prev_hash, hash
                    FROM audit
                    WHERE revision < $1 AND at >= $2 AND at < $3
                      AND ($4 = '' OR actor = $4) AND ($5 = '' OR command = $5)
                      AND ($6 = '' OR changes LIKE $6 ESCAPE '!')
                      AND ($7 = '' OR lower(subject) LIKE $7 ESCAPE '!'
                           OR lower(reason) LIKE $7 ESCAPE '!')
                    ORDER BY revision DESC LIMIT $8";
    AUDIT_AS_OF = "SELECT max(revision) FROM audit WHERE at <= $1";

    CHECKPOINT_LAST = "SELECT revision, envelope FROM checkpoint ORDER BY revision DESC LIMIT 1";
    CHECKPOINT_ALL = "SELECT revision, envelope FROM checkpoint ORDER BY revision";
    CHECKPOINT_PUT = "INSERT INTO checkpoint (revision, envelope) VALUES ($1, $2)
                      ON CONFLICT (revision) DO NOTHING";

    IDEMPOTENCY_GET = "SELECT fingerprint, revision, answer FROM idempotency
                       WHERE actor = $1 AND key = $2";
    IDEMPOTENCY_PUT = "INSERT INTO idempotency (actor, key, fingerprint, revision, at, answer)
                       VALUES ($1, $2, $3, $4, $5, $6)";
    IDEMPOTENCY_PRUNE = "DELETE FROM idempotency WHERE at < $1";

    SESSION_GET = "SELECT id_hash, user_id, csrf, created_at, seen_at, address, agent
                   FROM session WHERE id_hash = $1";
    SESSION_LIST = "SELECT id_hash, user_id, csrf, created_at, seen_at, address, agent
                    FROM session WHERE user_id = $1 ORDER BY created_at, id_hash";
    SESSION_PUT = "INSERT INTO session
                   (id_hash, user_id, csrf, created_at, seen_at, address, agent)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
    SESSION_SEEN = "UPDATE session SET seen_at = $1 WHERE id_hash = $2";
    SESSION_DELETE = "DELETE FROM session WHERE id_hash = $1";
    SESSION_DELETE_ALL = "DELETE FROM session WHERE user_id = $1 AND id_hash <> $2";
    SESSION_PRUNE = "DELETE FROM session WHERE created_at < $1 OR seen_at < $2";

    NOTE_GET = "SELECT count, at FROM note WHERE topic = $1 AND key = $2";
    NOTE_ALL = "SELECT key, count, at FROM note WHERE topic = $1 ORDER BY key";
    NOTE_PUT = "INSERT INTO note (topic, key, count, at) VALUES ($1, $2, $3, $4)
                ON CONFLICT (topic, key) DO UPDATE SET count = excluded.count, at = excluded.at";
    NOTE_COUNT = "INSERT INTO note (topic, key, count, at) VALUES ($1, $2, 1, $3)
                  ON CONFLICT (topic, key) DO UPDATE SET count = note.count + 1, at = excluded.at";
    NOTE_DELETE = "DELETE FROM note WHERE topic = $1 AND key = $2";
    NOTE_PRUNE = "DELETE FROM note WHERE topic = $1 AND at < $2";

    USAGE_PUT = "INSERT INTO usage (tenant, feature, amount, at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (tenant, feature) DO UPDATE
                 SET amount = excluded.amount, at = excluded.at
                 WHERE usage.at <= excluded.at";
    USAGE_ALL = "SELECT tenant, feature, amount FROM usage ORDER BY tenant, feature";
    USAGE_GET = "SELECT feature, amount, at FROM usage WHERE tenant = $1 ORDER BY feature";

    SIDECAR_PUT = "INSERT INTO sidecar (id, json, at) VALUES ($1, $2, $3)
                   ON CONFLICT (id) DO UPDATE SET json = excluded.json, at = excluded.at";
    SIDECAR_ALL = "SELECT id, json, at FROM sidecar ORDER BY id";
    SIDECAR_DELETE = "DELETE FROM sidecar WHERE id = $1";
    SIDECAR_PRUNE = "DELETE FROM sidecar WHERE at < $1";

    // A batch counts once: only a later one of the same run, or one of another run, gets through.
    DENIAL_BATCH = "INSERT INTO denial_batch (sidecar, boot, batch, at) VALUES ($1, $2, $3, $4)
                    ON CONFLICT (sidecar, boot) DO UPDATE
                    SET batch = excluded.batch, at = excluded.at
                    WHERE denial_batch.batch < excluded.batch";
    DENIAL_ADD = "INSERT INTO denial (day, tenant, feature, reason, count) VALUES ($1, $2, $3, $4, $5)
                  ON CONFLICT (day, tenant, feature, reason) DO UPDATE
                  SET count = denial.count + excluded.count";
    DENIAL_LIST = "SELECT tenant, feature, reason, sum(count) FROM denial
                   WHERE day >= $1 AND ($2 = '' OR tenant = $2)
                   GROUP BY tenant, feature, reason
                   ORDER BY 4 DESC, tenant, feature, reason LIMIT $3";
    DENIAL_PRUNE = "DELETE FROM denial WHERE day < $1";
    DENIAL_BATCH_PRUNE = "DELETE FROM denial_batch WHERE at < $1";

    PENDING_PUT = "INSERT INTO pending_sign_in (state_hash, json, expires_at) VALUES ($1, $2, $3)";
    PENDING_TAKE = "DELETE FROM pending_sign_in WHERE state_hash = $1 RETURNING json";
    PENDING_PRUNE = "DELETE FROM pending_sign_in WHERE expires_at < $1";

    LEASE_TAKE = "INSERT INTO lease (name, holder, until) VALUES ($1, $2, $3)
                  ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
                  WHERE lease.holder = $2 OR lease.until <= $4";

    VACUUM_INTO = "VACUUM INTO $1";

    MIGRATION_TABLE = "CREATE TABLE IF NOT EXISTS migration (
                           number     BIGINT PRIMARY KEY,
                           name       TEXT NOT NULL,
                           checksum   TEXT NOT NULL,
                           applied_at BIGINT NOT NULL
                       )";
    MIGRATION_ALL = "SELECT number, name, checksum FROM migration ORDER BY number";
    MIGRATION_PUT = "INSERT INTO migration (number, name, checksum, applied_at)
                     VALUES ($1, $2, $3, $4)";
}

/// A table that is copied from one database to another.
pub(super) struct Table {
    pub(super) select: &'static str,
    pub(super) insert: &'static str,
}

macro_rules! tables {
    ($($name:literal ($columns:literal) $values:literal;)*) => {
        /// Every table but those of migrations, leases and pending sign-ins.
        pub(super) const TABLES: &[Table] = &[$(Table {
            select: concat!("SELECT ", $columns, " FROM ", $name),
            insert: concat!("INSERT INTO ", $name, " (", $columns, ") VALUES (", $values, ")"),
        }),*];
    };
}

tables! {
    "meta" ("name, value") "$1, $2";
    "counter" ("name, value") "$1, $2";
    "object" ("kind, key, revision, json, secret, due_at") "$1, $2, $3, $4, $5, $6";
    "version" ("kind, key, revision, json") "$1, $2, $3, $4";
    "audit" ("revision, at, actor, principal, address, command, subject, reason, request_id, \
              changes, prev_hash, hash") "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12";
    "checkpoint" ("revision, envelope") "$1, $2";
    "idempotency" ("actor, key, fingerprint, revision, at, answer") "$1, $2, $3, $4, $5, $6";
    "session" ("id_hash, user_id, csrf, created_at, seen_at, address, agent")
        "$1, $2, $3, $4, $5, $6, $7";
    "note" ("topic, key, count, at") "$1, $2, $3, $4";
    "usage" ("tenant, feature, amount, at") "$1, $2, $3, $4";
    "sidecar" ("id, json, at") "$1, $2, $3";
    "denial" ("day, tenant, feature, reason, count") "$1, $2, $3, $4, $5";
    "denial_batch" ("sidecar, boot, batch, at") "$1, $2, $3, $4";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    /// The parameters in the order in which each is first used.
    fn first_uses(text: &str) -> Vec<usize> {
        let numbers = text.split('$').skip(1).map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap()
        });
        let mut seen = Vec::new();
        for number in numbers {
            if !seen.contains(&number) {
                seen.push(number);
            }
        }
        seen
    }

    #[test]
    fn parameters_appear_in_the_order_of_their_numbers() {
        for (name, text) in ALL {
            let used = first_uses(text);
            assert_eq!(used, (1..=used.len()).collect::<Vec<_>>(), "{name}: {text}");
        }
        assert_eq!(first_uses("a = $2 AND b = $1 AND c = $2"), [2, 1], "the test itself sees it");
    }

    #[test]
    fn no_statement_binds_by_question_mark() {
        assert!(ALL.iter().all(|(_, text)| !text.contains('?')));
    }
}
