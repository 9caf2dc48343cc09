-- What a radio hears: more of each window's loudness, which receiver heard it, and identifiers under a key of their day.
-- Sightings of the schema before were not under such keys; they are not kept, and neither is when the node listened.
DROP TABLE sightings;
DELETE FROM listened;
CREATE TABLE sightings (
    window_index    INTEGER NOT NULL,           -- seconds // 20
    receiver        INTEGER NOT NULL CHECK (receiver BETWEEN 0 AND 255),
    identifier      BLOB    NOT NULL CHECK (length(identifier) = 16),   -- AES-256 of it, under the key of its day
    frames          INTEGER NOT NULL CHECK (frames > 0),
    rssi_sum        INTEGER NOT NULL,           -- dBm, over the frames
    rssi_square_sum INTEGER NOT NULL,           -- dBm squared, over the frames
    rssi_min        INTEGER NOT NULL,           -- dBm
    rssi_max        INTEGER NOT NULL,           -- dBm
    metadata        BLOB    NOT NULL CHECK (length(metadata) IN (0, 4)),    -- masked under the key of its day
    logged_at       REAL    NOT NULL,           -- wall clock of the node, seconds; retention counts from here
    PRIMARY KEY (window_index, receiver, identifier)
) STRICT, WITHOUT ROWID;

-- Without its key, what is left of a day says nothing.
CREATE TABLE day_keys (
    day INTEGER PRIMARY KEY,                    -- seconds // 86400
    key BLOB    NOT NULL CHECK (length(key) = 32)
) STRICT;
