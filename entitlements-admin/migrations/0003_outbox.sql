-- What the outside world must be told. A row comes with the commit that caused it.
CREATE TABLE notice (
    id        TEXT PRIMARY KEY,
    revision  BIGINT NOT NULL,
    place     BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    type      TEXT NOT NULL,
    tenant    TEXT,
    subject   TEXT NOT NULL,
    data      TEXT NOT NULL,
    routed_at BIGINT
);
CREATE UNIQUE INDEX notice_order ON notice (revision, place);
CREATE INDEX notice_unrouted ON notice (revision, place) WHERE routed_at IS NULL;
CREATE INDEX notice_at ON notice (at);
CREATE INDEX notice_subject ON notice (subject, revision);

-- Messages: each goes to one connector and tells of one or more notices. `revision` and `place` are
-- those of the first. Nothing is owed any more once there is a `finished_at`.
CREATE TABLE delivery (
    id             TEXT PRIMARY KEY,
    connector      TEXT NOT NULL,
    team           TEXT NOT NULL,
    route          TEXT NOT NULL,
    template       TEXT,
    subject        TEXT NOT NULL,
    is_ordered     BIGINT NOT NULL,
    revision       BIGINT NOT NULL,
    place          BIGINT NOT NULL,
    bin            TEXT,
    bin_until      BIGINT,
    stage          TEXT NOT NULL,
    tries          BIGINT NOT NULL,
    searches       BIGINT NOT NULL,
    attempts       BIGINT NOT NULL,
    doubtful_since BIGINT,
    due_at         BIGINT,
    holder         TEXT,
    lease_until    BIGINT,
    created_at     BIGINT NOT NULL,
    finished_at    BIGINT,
    detail         TEXT
);
CREATE INDEX delivery_open ON delivery (connector, due_at) WHERE finished_at IS NULL;
CREATE INDEX delivery_due ON delivery (due_at) WHERE finished_at IS NULL;
CREATE INDEX delivery_open_subject ON delivery (connector, subject, revision, place)
    WHERE finished_at IS NULL;
CREATE INDEX delivery_open_bin ON delivery (route, bin) WHERE finished_at IS NULL AND bin IS NOT NULL;
CREATE INDEX delivery_order ON delivery (revision, place);
CREATE INDEX delivery_stage ON delivery (stage, created_at);
CREATE INDEX delivery_finished ON delivery (finished_at) WHERE finished_at IS NOT NULL;

-- Which message tells which connector of a notice: one.
CREATE TABLE delivery_notice (
    notice    TEXT NOT NULL,
    connector TEXT NOT NULL,
    delivery  TEXT NOT NULL,
    PRIMARY KEY (notice, connector)
);
CREATE INDEX delivery_notice_delivery ON delivery_notice (delivery);

-- Each attempt, from the moment that it begins.
CREATE TABLE attempt (
    delivery TEXT NOT NULL,
    number   BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    took_us  BIGINT,
    outcome  TEXT NOT NULL,
    detail   TEXT,
    PRIMARY KEY (delivery, number)
);

-- What was opened elsewhere for a subject.
CREATE TABLE task (
    id          TEXT PRIMARY KEY,
    connector   TEXT NOT NULL,
    subject     TEXT NOT NULL,
    state       TEXT NOT NULL,
    opened_by   TEXT NOT NULL,
    external_id TEXT NOT NULL,
    handle      TEXT,
    url         TEXT,
    opened_at   BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL,
    closed_at   BIGINT,
    is_shown    BIGINT NOT NULL
);
CREATE INDEX task_subject ON task (subject, connector, opened_at);
CREATE INDEX task_external ON task (connector, external_id);

-- How each destination is: failures in a row, and until when it is left alone.
CREATE TABLE lane (
    connector    TEXT PRIMARY KEY,
    failures     BIGINT NOT NULL,
    closed_until BIGINT
);
