-- Diagnosis keys that came in. The file itself is kept until it was matched.
CREATE TABLE key_batches (
    digest      BLOB PRIMARY KEY CHECK (length(digest) = 32),
    region      TEXT NOT NULL,
    starts_at   REAL NOT NULL,
    ends_at     REAL NOT NULL,
    received_at REAL NOT NULL,
    export      BLOB,
    matched_at  REAL
) STRICT, WITHOUT ROWID;

-- Who was near a case, never which case it was.
CREATE TABLE exposures (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    day      INTEGER NOT NULL,                  -- seconds // 86400
    subject  TEXT    NOT NULL,                  -- label of a tag of this site; '' is the zone or the wearer itself
    mode     TEXT    NOT NULL,
    room     TEXT    NOT NULL,
    minutes  REAL    NOT NULL,                  -- attenuation-weighted
    score    REAL    NOT NULL,                  -- minutes, times infectiousness
    closeness REAL   NOT NULL,                  -- highest probability of 2 m or less over a window
    found_at REAL    NOT NULL,
    alerted_at REAL,
    seen_at  REAL,
    seen_by  TEXT,
    UNIQUE (day, subject, room)
) STRICT;

-- Cases that this node reported, each with the consent it was given.
CREATE TABLE cases (
    message_id   BLOB PRIMARY KEY CHECK (length(message_id) = 16),
    reported_at  REAL NOT NULL,
    consent      TEXT NOT NULL,                 -- version and language of the text that was read out
    witness      TEXT NOT NULL,                 -- staff member
    key_count    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
