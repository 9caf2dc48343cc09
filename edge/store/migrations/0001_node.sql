-- Who was heard: rotating identifiers only, one row per identifier and window of 20 s.
CREATE TABLE sightings (
    window_index INTEGER NOT NULL,              -- seconds // 20
    identifier   BLOB    NOT NULL CHECK (length(identifier) = 16),
    frames       INTEGER NOT NULL CHECK (frames > 0),
    rssi_sum     INTEGER NOT NULL,              -- dBm, over the frames
    rssi_max     INTEGER NOT NULL,              -- dBm
    logged_at    REAL    NOT NULL,              -- wall clock of the node, seconds; retention counts from here
    PRIMARY KEY (window_index, identifier)
) STRICT, WITHOUT ROWID;

-- When the node listened, so that a quiet slot is known to be quiet.
CREATE TABLE listened (
    slot            INTEGER PRIMARY KEY,        -- seconds // 1800
    seconds         REAL    NOT NULL,           -- listened within the slot, at most 1800
    until_s         REAL    NOT NULL,           -- end of the last stretch within the slot
    first_logged_at REAL    NOT NULL            -- wall clock of the node, seconds
) STRICT;

-- Where listening stands; outlives retention, so that a replay never starts again from zero.
CREATE TABLE listening_mark (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    until_s REAL NOT NULL
) STRICT;

-- Tasks from the centre. Node and run ids are unsigned 64 bits, which SQLite's integers are not: big-endian blobs.
CREATE TABLE inbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id BLOB    NOT NULL UNIQUE,
    run_id     BLOB    NOT NULL CHECK (length(run_id) = 8),
    payload    BLOB    NOT NULL,                -- emptied once answered
    expires_at REAL    NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    reply      BLOB,                            -- or its SHA-256, where it lies in a file
    in_file    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX inbox_unanswered ON inbox (id) WHERE reply IS NULL;

-- What waits to be published.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id BLOB NOT NULL UNIQUE,
    topic      TEXT NOT NULL,
    payload    BLOB,                            -- NULL: the reply that the inbox keeps for this message
    expires_at REAL NOT NULL
) STRICT;

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
