-- One row for each egg in the cache. Times are seconds since the Unix epoch, sizes are bytes,
-- unknown or not applicable is ''. Everything but last use can be rebuilt from the blobs.
CREATE TABLE eggs (
    digest         TEXT    NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
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

    -- What it consists of.
    files          INTEGER NOT NULL,
    directories    INTEGER NOT NULL,
    symlinks       INTEGER NOT NULL,
    bytes          INTEGER NOT NULL,
    blob_bytes     INTEGER NOT NULL,

    -- Where it comes from.
    added_at       INTEGER NOT NULL,
    eggcache       TEXT    NOT NULL,
    buildout       TEXT    NOT NULL,
    setuptools     TEXT    NOT NULL,
    source         TEXT    NOT NULL,
    build_seconds  REAL,
    replaces       TEXT    NOT NULL,

    -- How it is used.
    used_at        INTEGER NOT NULL,
    uses           INTEGER NOT NULL DEFAULT 0,

    UNIQUE (name, version, python, abi, platform, libc, generation, source_sha256, variant,
            environment)
) STRICT, WITHOUT ROWID;

-- One row. An index begins without a row for blobs that may be there already; until it has them, no
-- blob is an orphan.
CREATE TABLE state (
    is_complete INTEGER NOT NULL CHECK (is_complete IN (0, 1))
) STRICT;

INSERT INTO state (is_complete) VALUES (0);

CREATE INDEX eggs_by_file_name ON eggs (file_name);
