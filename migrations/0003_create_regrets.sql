-- What gc has evicted within a year. That an egg was asked for again says that more should be kept,
-- and `limit_bytes` how much: the size limit under which it would have stayed. Times are seconds since
-- the Unix epoch, sizes are bytes. This is lost with the index.
CREATE TABLE regrets (
    id             INTEGER PRIMARY KEY,
    digest         TEXT    NOT NULL CHECK (length(digest) = 64),
    file_name      TEXT    NOT NULL,

    -- The egg key.
    name           TEXT    NOT NULL,
    version        TEXT    NOT NULL,
    python         TEXT    NOT NULL,
    abi            TEXT    NOT NULL,
    platform       TEXT    NOT NULL,
    libc           TEXT    NOT NULL,
    generation     INTEGER NOT NULL,
    source_sha256  TEXT    NOT NULL,
    variant        TEXT    NOT NULL,
    environment    TEXT    NOT NULL,

    blob_bytes     INTEGER NOT NULL,
    used_at        INTEGER NOT NULL,
    evicted_at     INTEGER NOT NULL,
    reason         TEXT    NOT NULL CHECK (reason IN ('max-age', 'keep-versions', 'max-size')),
    limit_bytes    INTEGER NOT NULL,
    -- When it was asked for again, if it was.
    asked_at       INTEGER
) STRICT;

CREATE INDEX regrets_by_name ON regrets (name, version);
CREATE INDEX regrets_by_digest ON regrets (digest);
CREATE INDEX regrets_by_time ON regrets (evicted_at);
