-- The control plane's tables. Instants are microseconds since 1970, documents are JSON text.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('revision', 0), ('epoch', 1);

-- The catalog in force: one row, or none before the first import.
CREATE TABLE catalog (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    json     TEXT NOT NULL,
    revision BIGINT NOT NULL
);

-- Every catalog that ever was in force.
CREATE TABLE catalog_history (
    revision BIGINT PRIMARY KEY,
    at       BIGINT NOT NULL,
    json     TEXT NOT NULL
);

CREATE TABLE tenant (
    key      TEXT PRIMARY KEY,
    json     TEXT NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE token (
    id          TEXT PRIMARY KEY,
    label       TEXT NOT NULL,
    scope       TEXT NOT NULL CHECK (scope IN ('admin', 'read', 'sync')),
    secret_hash BLOB NOT NULL,
    created_at  BIGINT NOT NULL,
    revision    BIGINT NOT NULL
);

-- One row per commit. `hash` covers the row and `prev_hash`, so that a change shows.
CREATE TABLE audit (
    revision  BIGINT PRIMARY KEY,
    at        BIGINT NOT NULL,
    actor     TEXT NOT NULL,
    command   TEXT NOT NULL,
    subject   TEXT NOT NULL,
    before    TEXT,
    after     TEXT,
    prev_hash BLOB NOT NULL,
    hash      BLOB NOT NULL
);

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
