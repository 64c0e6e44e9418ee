-- What was done with the cache on each day on which something was: a few hundred short rows a year,
-- lost with the index. `day` is when it begins in UTC, in seconds since the Unix epoch.
CREATE TABLE days (
    day            INTEGER NOT NULL PRIMARY KEY CHECK (day % 86400 = 0),

    -- Buildouts that took an egg from the cache or built one.
    runs           INTEGER NOT NULL DEFAULT 0,

    -- Eggs that were copied from the cache, and eggs that were asked for and not there.
    hits           INTEGER NOT NULL DEFAULT 0,
    misses         INTEGER NOT NULL DEFAULT 0,
    copied_bytes   INTEGER NOT NULL DEFAULT 0,

    -- What the builds of the hits had taken. Of some hits, that is not known.
    saved_seconds  REAL    NOT NULL DEFAULT 0,
    untimed_hits   INTEGER NOT NULL DEFAULT 0,
    -- What the builds of the misses have taken.
    build_seconds  REAL    NOT NULL DEFAULT 0,

    -- Blobs that came and went.
    stored         INTEGER NOT NULL DEFAULT 0,
    stored_bytes   INTEGER NOT NULL DEFAULT 0,
    evicted        INTEGER NOT NULL DEFAULT 0,
    evicted_bytes  INTEGER NOT NULL DEFAULT 0
) STRICT;
