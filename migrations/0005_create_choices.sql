-- Where the archive of an egg comes from, without secrets, and the choice by which the buildout that
-- built the egg came to it: a digest of the places among which it chose. '' is unknown.
ALTER TABLE eggs ADD COLUMN archive_url TEXT NOT NULL DEFAULT '';
ALTER TABLE eggs ADD COLUMN choice TEXT NOT NULL DEFAULT '';

-- Other choices by which buildouts came to the same archive later. This is lost with the index; a
-- buildout then asks its places again.
CREATE TABLE choices (
    digest  TEXT NOT NULL CHECK (length(digest) = 64),
    choice  TEXT NOT NULL CHECK (length(choice) = 64),
    PRIMARY KEY (digest, choice)
) STRICT, WITHOUT ROWID;
