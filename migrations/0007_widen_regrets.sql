-- Every egg that was taken out within a year is remembered with its key and why, so that a later miss can be
-- explained: also one that no limit would have kept. The table is made anew, because SQLite cannot change a
-- CHECK constraint.
CREATE TABLE wider_regrets (
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
    spelling       TEXT    NOT NULL DEFAULT '',

    blob_bytes     INTEGER NOT NULL,
    used_at        INTEGER NOT NULL,
    evicted_at     INTEGER NOT NULL,
    reason         TEXT    NOT NULL CHECK (reason IN ('max-age', 'keep-versions', 'max-size',
                       'signed-by', 'withdrawn', 'named', 'damaged')),
    limit_bytes    INTEGER NOT NULL,
    -- When it was asked for again, if it was.
    asked_at       INTEGER
) STRICT;

INSERT INTO wider_regrets (id, digest, file_name, name, version, python, abi, platform, libc, generation,
        source_sha256, variant, environment, spelling, blob_bytes, used_at, evicted_at, reason, limit_bytes,
        asked_at)
    SELECT id, digest, file_name, name, version, python, abi, platform, libc, generation,
        source_sha256, variant, environment, spelling, blob_bytes, used_at, evicted_at, reason, limit_bytes,
        asked_at
    FROM regrets;
DROP TABLE regrets;
ALTER TABLE wider_regrets RENAME TO regrets;
CREATE INDEX regrets_by_name ON regrets (name, version);
CREATE INDEX regrets_by_digest ON regrets (digest);
CREATE INDEX regrets_by_time ON regrets (evicted_at);
