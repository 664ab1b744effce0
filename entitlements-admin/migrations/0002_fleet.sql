-- What each sidecar said of itself last.
CREATE TABLE sidecar (
    id   TEXT PRIMARY KEY,
    json TEXT NOT NULL,
    at   BIGINT NOT NULL
);

-- How often checks were denied, by day (since 1970-01-01, UTC).
CREATE TABLE denial (
    day     BIGINT NOT NULL,
    tenant  TEXT NOT NULL,
    feature TEXT NOT NULL,
    reason  TEXT NOT NULL,
    count   BIGINT NOT NULL,
    PRIMARY KEY (day, tenant, feature, reason)
);
CREATE INDEX denial_of_tenant ON denial (tenant, day);

-- The last batch of denials that was taken from each run of a sidecar.
CREATE TABLE denial_batch (
    sidecar TEXT NOT NULL,
    boot    TEXT NOT NULL,
    batch   BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (sidecar, boot)
);
