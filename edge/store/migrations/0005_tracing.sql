-- Diagnosis keys that came in and were believed. The file itself is kept until it was matched.
CREATE TABLE key_batches (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),    -- SHA-256 of the export file
    region      TEXT    NOT NULL,
    batch       TEXT    NOT NULL,
    starts_at   REAL    NOT NULL,
    ends_at     REAL    NOT NULL,
    received_at REAL    NOT NULL,
    export      BLOB,
    attempts    INTEGER NOT NULL DEFAULT 0,
    matched_at  REAL,
    UNIQUE (region, batch),
    CHECK ((export IS NULL) = (matched_at IS NOT NULL))
) STRICT;

-- Every key of every batch that was matched, so that a key which comes again in another batch counts once. All of them,
-- so that this says nothing of which were heard here.
CREATE TABLE seen_keys (
    key BLOB PRIMARY KEY CHECK (length(key) = 16),
    day INTEGER NOT NULL                        -- seconds // 86400, of the key's end
) STRICT, WITHOUT ROWID;

-- Who was near a case, never which case it was.
CREATE TABLE exposures (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    day          INTEGER NOT NULL,              -- seconds // 86400
    subject      TEXT    NOT NULL,              -- label of a tag of this site; '' is the zone or the wearer itself
    mode         TEXT    NOT NULL CHECK (mode IN ('zone', 'room', 'person')),
    room         TEXT    NOT NULL,
    minutes      REAL    NOT NULL CHECK (minutes >= 0),     -- attenuation-weighted
    score        REAL    NOT NULL CHECK (score >= 0),       -- minutes, times infectiousness
    closeness    REAL    NOT NULL CHECK (closeness BETWEEN 0 AND 1),    -- highest probability of 2 m or less
    found_at     REAL    NOT NULL,
    alerted_at   REAL,
    seen_at      REAL,
    seen_by      TEXT,
    attempts     INTEGER NOT NULL DEFAULT 0,    -- to tell the site's own server of the alert
    next_try_at  REAL,                          -- NULL: nothing waits to be told
    delivered_at REAL,
    UNIQUE (day, subject, room)
) STRICT;
CREATE INDEX exposures_to_tell ON exposures (next_try_at) WHERE next_try_at IS NOT NULL;

-- Cases that this node reported, each with the consent it was given.
CREATE TABLE cases (
    message_id   BLOB PRIMARY KEY CHECK (length(message_id) = 16),
    reported_at  REAL NOT NULL,
    consent      TEXT NOT NULL CHECK (consent <> ''),       -- version and language of the text that was read out
    witness      TEXT NOT NULL CHECK (witness <> ''),       -- staff member
    key_count    INTEGER NOT NULL CHECK (key_count > 0)
) STRICT, WITHOUT ROWID;
