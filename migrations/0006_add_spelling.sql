-- How the file name of an egg spells the name of its project, in lower case; '' is as the metadata spells
-- it, or unknown: eggs from before this column have none. It is part of the egg key, so the table is made
-- anew: SQLite cannot change a UNIQUE constraint.
CREATE TABLE spelt_eggs (
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
    spelling       TEXT    NOT NULL DEFAULT '',

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
    archive_url    TEXT    NOT NULL DEFAULT '',
    choice         TEXT    NOT NULL DEFAULT '',
    build_seconds  REAL,
    replaces       TEXT    NOT NULL,

    -- How it is used.
    used_at        INTEGER NOT NULL,
    uses           INTEGER NOT NULL DEFAULT 0,

    UNIQUE (name, version, python, abi, platform, libc, generation, source_sha256, variant,
            environment, spelling)
) STRICT, WITHOUT ROWID;

INSERT INTO spelt_eggs (digest, file_name, name, version, python, abi, platform, libc, generation,
        source_sha256, variant, environment, files, directories, symlinks, bytes, blob_bytes, added_at,
        eggcache, buildout, setuptools, source, archive_url, choice, build_seconds, replaces, used_at, uses)
    SELECT digest, file_name, name, version, python, abi, platform, libc, generation,
        source_sha256, variant, environment, files, directories, symlinks, bytes, blob_bytes, added_at,
        eggcache, buildout, setuptools, source, archive_url, choice, build_seconds, replaces, used_at, uses
    FROM eggs;
DROP TABLE eggs;
ALTER TABLE spelt_eggs RENAME TO eggs;
CREATE INDEX eggs_by_file_name ON eggs (file_name);

ALTER TABLE regrets ADD COLUMN spelling TEXT NOT NULL DEFAULT '';
