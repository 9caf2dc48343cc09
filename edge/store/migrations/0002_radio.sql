-- What a radio hears: more of each window's loudness, which receiver heard it, and identifiers under a key of their day.
-- Sightings of the schema before were not under such keys; they are not kept, and neither is when the node listened.
DROP TABLE sightings;
DELETE FROM listened;
CREATE TABLE sightings (
    window_index    INTEGER NOT NULL,           -- seconds // 20
    identifier      BLOB    NOT NULL CHECK (length(identifier) = 16),   -- AES-256 of it, under the key of its day
    receiver        INTEGER NOT NULL CHECK (receiver BETWEEN 0 AND 255),
    guessed         INTEGER NOT NULL CHECK (guessed IN (0, 1)),         -- dated by a clock that was not yet set
    frames          INTEGER NOT NULL CHECK (frames > 0),
    rssi_sum        INTEGER NOT NULL,           -- dBm, over the frames
    rssi_square_sum INTEGER NOT NULL,           -- dBm squared, over the frames
    rssi_min        INTEGER NOT NULL,           -- dBm
    rssi_max        INTEGER NOT NULL,           -- dBm
    metadata        BLOB    NOT NULL CHECK (length(metadata) IN (0, 4)),    -- masked under the key of its day
    logged_at       REAL    NOT NULL,           -- wall clock of the node, seconds; retention counts from here
    PRIMARY KEY (window_index, identifier, receiver, guessed)
) STRICT, WITHOUT ROWID;

-- Without its key, what is left of a day says nothing.
CREATE TABLE day_keys (
    day INTEGER PRIMARY KEY,                    -- seconds // 86400
    key BLOB    NOT NULL CHECK (length(key) = 32)
) STRICT;

-- When the node listened while its clock was not yet set. No stretch reaches over the end of a slot.
CREATE TABLE guessed_stretches (
    from_s    REAL    PRIMARY KEY,
    until_s   REAL    NOT NULL CHECK (until_s > from_s),
    slot      INTEGER NOT NULL,                 -- seconds // 1800
    logged_at REAL    NOT NULL
) STRICT, WITHOUT ROWID;

-- By which clock the guesses were made: within one boot, how far that clock was set since tells how far they are off.
CREATE TABLE guess (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    boot         TEXT    NOT NULL,
    offset_s     REAL    NOT NULL,              -- wall clock minus monotonic clock
    first_window INTEGER NOT NULL,
    last_window  INTEGER NOT NULL
) STRICT;

CREATE VIEW listening AS
    SELECT slot, min(sum(seconds), 1800.0) AS seconds, max(until_s) AS until_s, min(logged_at) AS first_logged_at
    FROM (
        SELECT slot, seconds, until_s, first_logged_at AS logged_at FROM listened
        UNION ALL SELECT slot, until_s - from_s, until_s, logged_at FROM guessed_stretches
    ) GROUP BY slot;

-- The last page that a run of the sensing process saved: a page is added once, whatever came of its commit.
CREATE TABLE saved_page (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    run  BLOB    NOT NULL,
    page INTEGER NOT NULL
) STRICT;
