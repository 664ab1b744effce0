-- The control plane's tables, the same on SQLite and PostgreSQL. Instants are microseconds since
-- 1970, documents are JSON text, hashes are 32 bytes.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('revision', 0), ('epoch', 1);

-- What is there now: the catalog, tenants, drafts, users, keys, settings.
-- `secret` is what must not be seen: it is in no version, no audit and no export.
CREATE TABLE object (
    kind     TEXT NOT NULL,
    key      TEXT NOT NULL,
    revision BIGINT NOT NULL,
    json     TEXT NOT NULL,
    secret   TEXT,
    due_at   BIGINT,
    PRIMARY KEY (kind, key)
);
CREATE INDEX object_due ON object (due_at) WHERE due_at IS NOT NULL;

-- What was there: every version of every object. `json` is absent where it was removed.
CREATE TABLE version (
    kind     TEXT NOT NULL,
    key      TEXT NOT NULL,
    revision BIGINT NOT NULL,
    json     TEXT,
    PRIMARY KEY (kind, key, revision)
);
CREATE INDEX version_revision ON version (revision);

-- One row per commit. `changes` names each object with the hashes of what it was and what it is;
-- `hash` covers the row and `prev_hash`.
CREATE TABLE audit (
    revision   BIGINT PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor      TEXT NOT NULL,
    principal  TEXT,
    address    TEXT,
    command    TEXT NOT NULL,
    subject    TEXT NOT NULL,
    reason     TEXT,
    request_id TEXT,
    changes    TEXT NOT NULL,
    prev_hash  BYTEA NOT NULL,
    hash       BYTEA NOT NULL
);
CREATE INDEX audit_at ON audit (at);

-- The head of the audit, signed by a publisher key, from time to time.
CREATE TABLE checkpoint (
    revision BIGINT PRIMARY KEY,
    envelope BYTEA NOT NULL
);

-- Requests that were done, so that a repeated one is not done twice.
CREATE TABLE idempotency (
    actor       TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    revision    BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    answer      TEXT NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

-- Signed-in browsers. The id is a hash of what the browser holds.
CREATE TABLE session (
    id_hash    BYTEA PRIMARY KEY,
    user_id    TEXT NOT NULL,
    csrf       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    address    TEXT,
    agent      TEXT
);
CREATE INDEX session_of_user ON session (user_id);

-- Facts that are noted in passing, outside the audit: failed sign-ins, last uses.
CREATE TABLE note (
    topic TEXT NOT NULL,
    key   TEXT NOT NULL,
    count BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (topic, key)
);

-- How much of a limit a tenant used last. It comes often and is not audited.
CREATE TABLE usage (
    tenant  TEXT NOT NULL,
    feature TEXT NOT NULL,
    amount  BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (tenant, feature)
);

-- Who does what alone for a while, where several processes share the database.
CREATE TABLE lease (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  BIGINT NOT NULL
);

-- Sign-ins that went to an identity provider and have not come back.
CREATE TABLE pending_sign_in (
    state_hash TEXT PRIMARY KEY,
    json       TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
