-- Eggs that were taken out on purpose and whose blobs may still be there: a blob without a row that
-- is not named here has lost its row by accident. `evicted_at` is in seconds since the Unix epoch.
CREATE TABLE evicted (
    digest      TEXT    NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
    evicted_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
