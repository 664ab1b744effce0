-- Requests as lists and reports know them. The documents are objects; these rows come with them.
CREATE TABLE request (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    listing    TEXT NOT NULL,
    partner    TEXT NOT NULL,
    team       TEXT NOT NULL,
    priority   TEXT NOT NULL,
    stage      TEXT NOT NULL,
    is_open    BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX request_order ON request (created_at, id);
CREATE INDEX request_open ON request (created_at, id) WHERE is_open = 1;
CREATE INDEX request_tenant ON request (tenant, created_at, id);
CREATE INDEX request_stage ON request (stage, created_at, id);
CREATE INDEX request_listing ON request (listing, created_at, id);
CREATE INDEX request_partner ON request (partner, created_at, id) WHERE partner <> '';

-- The promises that have begun for them.
CREATE TABLE promise (
    request    TEXT NOT NULL,
    metric     TEXT NOT NULL,
    state      TEXT NOT NULL,
    calendar   TEXT,
    started_at BIGINT NOT NULL,
    due_at     BIGINT,
    is_late    BIGINT NOT NULL,
    used_us    BIGINT NOT NULL,
    PRIMARY KEY (request, metric)
);
CREATE INDEX promise_calendar ON promise (calendar, request) WHERE state IN ('running', 'paused');
CREATE INDEX promise_due ON promise (due_at, request) WHERE state = 'running';

-- How many promises were kept, counted as they change, so that a report reads no request.
CREATE TABLE tally (
    month     TEXT NOT NULL,
    listing   TEXT NOT NULL,
    team      TEXT NOT NULL,
    partner   TEXT NOT NULL,
    priority  TEXT NOT NULL,
    metric    TEXT NOT NULL,
    state     TEXT NOT NULL,
    is_late   BIGINT NOT NULL,
    count     BIGINT NOT NULL,
    used_us   BIGINT NOT NULL,
    PRIMARY KEY (month, listing, team, partner, priority, metric, state, is_late)
);

-- What tenants have by requests.
CREATE TABLE holding (
    id        TEXT PRIMARY KEY,
    tenant    TEXT NOT NULL,
    is_active BIGINT NOT NULL
);
CREATE INDEX holding_tenant ON holding (tenant, id);

CREATE INDEX object_kind_due ON object (kind, due_at) WHERE due_at IS NOT NULL;
