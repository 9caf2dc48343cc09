-- Walks with a tape measure: a known transmitter at a known distance.
CREATE TABLE calibration_sessions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    adapter     TEXT NOT NULL CHECK (adapter <> ''),
    transmitter TEXT NOT NULL CHECK (transmitter <> ''),
    started_at  REAL NOT NULL                   -- wall clock of the node, seconds; retention counts from here
) STRICT;
-- One row a place and posture; doing one again replaces it.
CREATE TABLE calibration_steps (
    session          INTEGER NOT NULL REFERENCES calibration_sessions (id) ON DELETE CASCADE,
    position         INTEGER NOT NULL,          -- order in which the steps were taken
    distance_m       REAL    NOT NULL CHECK (distance_m >= 0),
    blocked          INTEGER NOT NULL CHECK (blocked IN (0, 1)),    -- whether a body stood between
    frames           INTEGER NOT NULL CHECK (frames > 0),
    rssi_sum         INTEGER NOT NULL,          -- dBm, over the frames
    rssi_square_sum  INTEGER NOT NULL,          -- dBm squared, over the frames
    rssi_min         INTEGER NOT NULL,          -- dBm
    rssi_max         INTEGER NOT NULL,          -- dBm
    windows_heard    INTEGER NOT NULL CHECK (windows_heard > 0),
    windows_listened INTEGER NOT NULL CHECK (windows_listened >= windows_heard),
    PRIMARY KEY (session, distance_m, blocked)
) STRICT, WITHOUT ROWID;
-- What is added to an RSSI, by adapter and by transmitter.
CREATE TABLE corrections (
    kind      TEXT NOT NULL CHECK (kind IN ('adapter', 'transmitter')),
    name      TEXT NOT NULL,
    offset_db REAL NOT NULL,
    frames_per_window REAL,                     -- of an adapter: heard at best of one tag in a window of 20 s
    set_at    REAL NOT NULL,                    -- wall clock of the node, seconds
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
