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
                  WHERE kind = $1 AND due_at <= $2 ORDER BY due_at, key LIMIT $3";
    // Whoever takes it first has it: what was taken is due no more.
    OBJECT_CLAIM = "UPDATE object SET due_at = $1
                    WHERE kind = $2 AND key = $3 AND revision = $4 AND due_at <= $5";
    OBJECT_POSTPONE = "UPDATE object SET due_at = $1
                       WHERE kind = $2 AND key = $3 AND revision = $4";
    OBJECT_RELEASE = "UPDATE object SET due_at = $1
                      WHERE kind = $2 AND due_at > $1 AND due_at <= $3";
    OBJECT_NEXT_DUE = "SELECT min(due_at) FROM object WHERE kind = $1 AND due_at IS NOT NULL";

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

    REQUEST_PUT = "INSERT INTO request
                   (id, tenant, listing, partner, team, priority, stage, is_open, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                   ON CONFLICT (id) DO UPDATE
                   SET stage = excluded.stage, is_open = excluded.is_open";
    // Each begins with what tells most, and takes the page before any document.
    REQUEST_LIST = "SELECT page.id, object.json, object.revision
               FROM (SELECT id, created_at FROM request
                     WHERE ($1 = '' OR is_open >= 0)
                       AND (created_at, id) < ($2, $3)
                       AND ($4 = '' OR tenant = $4) AND ($5 = '' OR listing = $5)
                       AND ($6 = '' OR stage = $6) AND ($7 = '' OR partner = $7)
                       AND ($8 = '' OR team = $8) AND ($9 = 0 OR is_open = 1)
                     ORDER BY created_at DESC, id DESC LIMIT $10) AS page
               JOIN object ON object.kind = 'request' AND object.key = page.id
               ORDER BY page.created_at DESC, page.id DESC";
    REQUEST_LIST_OPEN = "SELECT page.id, object.json, object.revision
               FROM (SELECT id, created_at FROM request
                     WHERE ($1 = '' OR is_open >= 0) AND is_open = 1
                       AND (created_at, id) < ($2, $3)
                       AND ($4 = '' OR tenant = $4) AND ($5 = '' OR listing = $5)
                       AND ($6 = '' OR stage = $6) AND ($7 = '' OR partner = $7)
                       AND ($8 = '' OR team = $8) AND ($9 = 0 OR is_open = 1)
                     ORDER BY created_at DESC, id DESC LIMIT $10) AS page
               JOIN object ON object.kind = 'request' AND object.key = page.id
               ORDER BY page.created_at DESC, page.id DESC";
    REQUEST_LIST_TENANT = "SELECT page.id, object.json, object.revision
               FROM (SELECT id, created_at FROM request
                     WHERE tenant = $1
                       AND (created_at, id) < ($2, $3)
                       AND ($4 = '' OR tenant = $4) AND ($5 = '' OR listing = $5)
                       AND ($6 = '' OR stage = $6) AND ($7 = '' OR partner = $7)
                       AND ($8 = '' OR team = $8) AND ($9 = 0 OR is_open = 1)
                     ORDER BY created_at DESC, id DESC LIMIT $10) AS page
               JOIN object ON object.kind = 'request' AND object.key = page.id
               ORDER BY page.created_at DESC, page.id DESC";
    REQUEST_LIST_STAGE = "SELECT page.id, object.json, object.revision
               FROM (SELECT id, created_at FROM request
                     WHERE stage = $1
                       AND (created_at, id) < ($2, $3)
                       AND ($4 = '' OR tenant = $4) AND ($5 = '' OR listing = $5)
                       AND ($6 = '' OR stage = $6) AND ($7 = '' OR partner = $7)
                       AND ($8 = '' OR team = $8) AND ($9 = 0 OR is_open = 1)
                     ORDER BY created_at DESC, id DESC LIMIT $10) AS page
               JOIN object ON object.kind = 'request' AND object.key = page.id
               ORDER BY page.created_at DESC, page.id DESC";
    REQUEST_LIST_LISTING = "SELECT page.id, object.json, object.revision
               FROM (SELECT id, created_at FROM request
                     WHERE listing = $1
                       AND (created_at, id) < ($2, $3)
                       AND ($4 = '' OR tenant = $4) AND ($5 = '' OR listing = $5)
                       AND ($6 = '' OR stage = $6) AND ($7 = '' OR partner = $7)
                       AND ($8 = '' OR team = $8) AND ($9 = 0 OR is_open = 1)
                     ORDER BY created_at DESC, id DESC LIMIT $10) AS page
               JOIN object ON object.kind = 'request' AND object.key = page.id
               ORDER BY page.created_at DESC, page.id DESC";
    REQUEST_LIST_PARTNER = "SELECT page.id, object.json, object.revision
               FROM (SELECT id, created_at FROM request
                     WHERE partner <> '' AND partner = $1
                       AND (created_at, id) < ($2, $3)
                       AND ($4 = '' OR tenant = $4) AND ($5 = '' OR listing = $5)
                       AND ($6 = '' OR stage = $6) AND ($7 = '' OR partner = $7)
                       AND ($8 = '' OR team = $8) AND ($9 = 0 OR is_open = 1)
                     ORDER BY created_at DESC, id DESC LIMIT $10) AS page
               JOIN object ON object.kind = 'request' AND object.key = page.id
               ORDER BY page.created_at DESC, page.id DESC";
    // `CROSS` has `SQLite` keep the order: what is due first comes from its index.
    REQUEST_DUE = "SELECT page.id, object.json, object.revision
                   FROM (SELECT promise.request AS id, promise.due_at AS due_at
                         FROM promise CROSS JOIN request
                         WHERE request.id = promise.request
                           AND promise.state = 'running' AND promise.due_at < $1
                           AND ($2 = '' OR request.tenant = $2) AND ($3 = '' OR request.listing = $3)
                           AND ($4 = '' OR request.stage = $4) AND ($5 = '' OR request.partner = $5)
                           AND ($6 = '' OR request.team = $6)
                         ORDER BY promise.due_at, promise.request LIMIT $7) AS page
                   JOIN object ON object.kind = 'request' AND object.key = page.id
                   ORDER BY page.due_at, page.id";
    REQUEST_COUNTS = "SELECT stage, count(*) FROM request
                      WHERE is_open = 1 AND ($1 = '' OR partner = $1) GROUP BY stage";
    REQUEST_COUNT = "SELECT count(*) FROM request";
    OBJECT_COUNT = "SELECT count(*) FROM object WHERE kind = $1";
    PROMISE_OF = "SELECT metric, state, started_at, is_late, used_us FROM promise WHERE request = $1";
    PROMISE_DROP = "DELETE FROM promise WHERE request = $1";
    PROMISE_PUT = "INSERT INTO promise
                   (request, metric, state, calendar, started_at, due_at, is_late, used_us)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    PROMISE_OF_CALENDAR = "SELECT DISTINCT promise.request, object.json, object.revision FROM promise
                           JOIN object ON object.kind = 'request' AND object.key = promise.request
                           WHERE promise.calendar = $1 AND promise.state IN ('running', 'paused')
                             AND promise.request > $2
                           ORDER BY promise.request LIMIT $3";
    TALLY_ADD = "INSERT INTO tally
                 (month, listing, team, partner, priority, metric, state, is_late, count, used_us)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                 ON CONFLICT (month, listing, team, partner, priority, metric, state, is_late)
                 DO UPDATE SET count = tally.count + excluded.count,
                               used_us = tally.used_us + excluded.used_us";
    TALLY_ALL = "SELECT month, listing, team, partner, priority, metric, state, is_late, count, used_us
                 FROM tally
                 WHERE month >= $1 AND month <= $2 AND ($3 = '' OR partner = $3) AND count > 0
                 ORDER BY month, listing, team, partner, priority, metric, state, is_late";
    HOLDING_PUT = "INSERT INTO holding (id, tenant, is_active) VALUES ($1, $2, $3)
                   ON CONFLICT (id) DO UPDATE SET is_active = excluded.is_active";
    HOLDING_LIST = "SELECT holding.id, object.json, object.revision FROM holding
                    JOIN object ON object.kind = 'holding' AND object.key = holding.id
                    WHERE holding.tenant = $1 ORDER BY holding.id";
    // What a request made to be so is the commit whose version says it first.
    REQUEST_GRANTED = "SELECT min(revision) FROM version
                       WHERE kind = 'request' AND key = $1 AND json LIKE $2";

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

    NOTICE_PUT = "INSERT INTO notice (id, revision, place, at, type, tenant, subject, data)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    NOTICE_GET = "SELECT id, revision, place, at, type, tenant, subject, data, routed_at
                  FROM notice WHERE id = $1";
    NOTICE_UNROUTED = "SELECT id, revision, place, at, type, tenant, subject, data, routed_at
                       FROM notice WHERE routed_at IS NULL ORDER BY revision, place LIMIT $1";
    NOTICE_LIST = "SELECT id, revision, place, at, type, tenant, subject, data, routed_at FROM notice
                   WHERE (revision < $1 OR (revision = $1 AND place < $2))
                     AND ($3 = '' OR type = $3) AND ($4 = '' OR tenant = $4)
                     AND ($5 = '' OR subject = $5)
                     AND ($6 = 0 OR (routed_at IS NOT NULL AND NOT EXISTS
                          (SELECT 1 FROM delivery_notice WHERE delivery_notice.notice = notice.id)))
                   ORDER BY revision DESC, place DESC LIMIT $7";
    NOTICE_OF_DELIVERY = "SELECT notice.id, notice.revision, notice.place, notice.at, notice.type,
                                 notice.tenant, notice.subject, notice.data, notice.routed_at
                          FROM delivery_notice
                          JOIN notice ON notice.id = delivery_notice.notice
                          WHERE delivery_notice.delivery = $1
                          ORDER BY notice.revision, notice.place";
    NOTICE_ROUTED = "UPDATE notice SET routed_at = $1 WHERE id = $2 AND routed_at IS NULL";
    NOTICE_AGAIN = "UPDATE notice SET routed_at = NULL WHERE at >= $1 AND at < $2";
    NOTICE_PRUNE = "DELETE FROM notice WHERE at < $1 AND routed_at IS NOT NULL AND NOT EXISTS
                    (SELECT 1 FROM delivery_notice WHERE delivery_notice.notice = notice.id)";

    DELIVERY_PUT = "INSERT INTO delivery
                    (id, connector, team, route, template, subject, is_ordered, revision, place, bin,
                     bin_until, stage, tries, searches, attempts, due_at, created_at)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', 0, 0, 0, $12,
                            $13)";
    DELIVERY_BIN = "SELECT id FROM delivery
                    WHERE route = $1 AND bin = $2 AND bin_until > $3 AND attempts = 0
                      AND finished_at IS NULL ORDER BY created_at LIMIT 1";
    DELIVERY_NOTICE_PUT = "INSERT INTO delivery_notice (notice, connector, delivery)
                           VALUES ($1, $2, $3) ON CONFLICT (notice, connector) DO NOTHING";
    DELIVERY_GET = "SELECT id, connector, team, route, template, subject, stage, tries, searches,
                           attempts, doubtful_since, due_at, created_at, finished_at, detail,
                           revision, place
                    FROM delivery WHERE id = $1";
    DELIVERY_LIST = "SELECT id, connector, team, route, template, subject, stage, tries, searches,
                            attempts, doubtful_since, due_at, created_at, finished_at, detail,
                            revision, place
                     FROM delivery
                     WHERE (revision < $1 OR (revision = $1 AND (place < $2 OR (place = $2 AND id < $3))))
                       AND ($4 = '' OR stage = $4) AND ($5 = '' OR connector = $5)
                       AND ($6 = '' OR subject = $6)
                       AND ($7 = '' OR id IN
                            (SELECT delivery FROM delivery_notice WHERE notice = $7))
                     ORDER BY revision DESC, place DESC, id DESC LIMIT $8";
    DELIVERY_FIRST = "SELECT min(due_at) FROM delivery WHERE finished_at IS NULL";
    DELIVERY_DROP = "UPDATE delivery
                     SET stage = 'refused', finished_at = $1, due_at = NULL, doubtful_since = NULL,
                         detail = 'the connector was removed'
                     WHERE connector = $2 AND finished_at IS NULL";
    DELIVERY_OPEN = "SELECT count(*), min(due_at) FROM delivery WHERE finished_at IS NULL";
    DELIVERY_DEAD = "SELECT count(*) FROM delivery WHERE stage = 'dead'";
    // What another one took in between, or has sent by now, is not taken again: `PostgreSQL` looks anew
    // at the row that it waited for, but not at what the inner question found.
    DELIVERY_CLAIM = "UPDATE delivery
                      SET holder = $1, lease_until = $2, attempts = attempts + 1
                      WHERE id IN
                        (SELECT due.id FROM delivery AS due
                         WHERE due.connector = $3 AND due.finished_at IS NULL AND due.due_at <= $4
                           AND (due.lease_until IS NULL OR due.lease_until <= $4)
                           AND (due.is_ordered = 0 OR NOT EXISTS
                             (SELECT 1 FROM delivery AS earlier
                              WHERE earlier.connector = due.connector
                                AND earlier.subject = due.subject AND earlier.finished_at IS NULL
                                AND (earlier.revision < due.revision
                                     OR (earlier.revision = due.revision
                                         AND earlier.place < due.place))))
                         ORDER BY due.due_at, due.revision, due.place LIMIT $5)
                        AND (lease_until IS NULL OR lease_until <= $4)
                        AND finished_at IS NULL AND due_at <= $4
                      RETURNING id";
    DELIVERY_AFTER = "UPDATE delivery
                      SET stage = $1, tries = $2, searches = $3, doubtful_since = $4, due_at = $5,
                          finished_at = $6, detail = $7, holder = NULL, lease_until = NULL
                      WHERE id = $8 AND holder = $9";
    DELIVERY_AGAIN = "UPDATE delivery
                      SET stage = 'pending', tries = 0, searches = 0, doubtful_since = NULL,
                          due_at = $1, finished_at = NULL
                      WHERE id = $2 AND finished_at IS NOT NULL";
    DELIVERY_ALL_AGAIN = "UPDATE delivery
                          SET stage = 'pending', tries = 0, searches = 0, doubtful_since = NULL,
                              due_at = $1, finished_at = NULL
                          WHERE stage IN ('dead', 'refused') AND created_at >= $2
                            AND created_at < $3 AND ($4 = '' OR connector = $4)";
    DELIVERY_PRUNE = "DELETE FROM delivery WHERE finished_at < $1";
    DELIVERY_NOTICE_PRUNE = "DELETE FROM delivery_notice WHERE delivery IN
                             (SELECT id FROM delivery WHERE finished_at < $1)";
    ATTEMPT_PRUNE = "DELETE FROM attempt WHERE delivery IN
                     (SELECT id FROM delivery WHERE finished_at < $1)";

    // One that is under way when another begins was lost with whoever made it.
    ATTEMPT_LOST = "UPDATE attempt SET outcome = 'lost' WHERE delivery = $1 AND outcome = 'under_way'";
    ATTEMPT_PUT = "INSERT INTO attempt (delivery, number, at, outcome)
                   VALUES ($1, $2, $3, 'under_way')";
    ATTEMPT_DONE = "UPDATE attempt SET took_us = $1, outcome = $2, detail = $3
                    WHERE delivery = $4 AND number = $5";
    ATTEMPT_LIST = "SELECT number, at, took_us, outcome, detail FROM attempt
                    WHERE delivery = $1 ORDER BY number";

    TASK_PUT = "INSERT INTO task (id, connector, subject, state, opened_by, external_id, handle, url,
                                  opened_at, changed_at, closed_at, is_shown)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                ON CONFLICT (id) DO UPDATE
                SET state = excluded.state, external_id = excluded.external_id,
                    handle = excluded.handle, url = excluded.url, changed_at = excluded.changed_at,
                    closed_at = excluded.closed_at";
    TASK_LAST = "SELECT id, connector, subject, state, opened_by, external_id, handle, url, opened_at,
                        changed_at, closed_at, is_shown
                 FROM task WHERE connector = $1 AND subject = $2
                 ORDER BY opened_at DESC, id DESC LIMIT 1";
    TASK_GET = "SELECT id, connector, subject, state, opened_by, external_id, handle, url, opened_at,
                       changed_at, closed_at, is_shown
                FROM task WHERE id = $1 AND is_shown = 1";
    TASK_EXTERNAL = "SELECT id, connector, subject, state, opened_by, external_id, handle, url,
                            opened_at, changed_at, closed_at, is_shown
                     FROM task WHERE connector = $1 AND external_id = $2
                     ORDER BY opened_at DESC, id DESC LIMIT 1";
    TASK_LIST = "SELECT id, connector, subject, state, opened_by, external_id, handle, url, opened_at,
                        changed_at, closed_at, is_shown
                 FROM task
                 WHERE is_shown = 1 AND id > $1 AND ($2 = '' OR subject = $2)
                   AND ($3 = '' OR state = $3) AND ($4 = '' OR connector = $4)
                 ORDER BY id LIMIT $5";
    TASK_PRUNE = "DELETE FROM task WHERE closed_at < $1";

    LANE_ALL = "SELECT connector, failures, closed_until FROM lane ORDER BY connector";
    LANE_GET = "SELECT failures, closed_until FROM lane WHERE connector = $1";
    LANE_PUT = "INSERT INTO lane (connector, failures, closed_until) VALUES ($1, $2, $3)
                ON CONFLICT (connector) DO UPDATE
                SET failures = excluded.failures, closed_until = excluded.closed_until";

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

/// What is let go of the outbox, in the order in which it must be.
pub(super) const OUTBOX_PRUNE: [&str; 5] =
    [ATTEMPT_PRUNE, DELIVERY_NOTICE_PRUNE, DELIVERY_PRUNE, NOTICE_PRUNE, TASK_PRUNE];

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
    "notice" ("id, revision, place, at, type, tenant, subject, data, routed_at")
        "$1, $2, $3, $4, $5, $6, $7, $8, $9";
    "delivery" ("id, connector, team, route, template, subject, is_ordered, revision, place, bin, \
                 bin_until, stage, tries, searches, attempts, doubtful_since, due_at, holder, \
                 lease_until, created_at, finished_at, detail")
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
         $21, $22";
    "delivery_notice" ("notice, connector, delivery") "$1, $2, $3";
    "attempt" ("delivery, number, at, took_us, outcome, detail") "$1, $2, $3, $4, $5, $6";
    "task" ("id, connector, subject, state, opened_by, external_id, handle, url, opened_at, \
             changed_at, closed_at, is_shown")
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12";
    "lane" ("connector, failures, closed_until") "$1, $2, $3";
    "request" ("id, tenant, listing, partner, team, priority, stage, is_open, created_at")
        "$1, $2, $3, $4, $5, $6, $7, $8, $9";
    "promise" ("request, metric, state, calendar, started_at, due_at, is_late, used_us")
        "$1, $2, $3, $4, $5, $6, $7, $8";
    "tally" ("month, listing, team, partner, priority, metric, state, is_late, count, used_us")
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10";
    "holding" ("id, tenant, is_active") "$1, $2, $3";
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
