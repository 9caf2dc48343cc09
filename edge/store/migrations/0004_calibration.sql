-- Walks with a tape measure: a known transmitter at a known distance.
CREATE TABLE calibration_sessions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    adapter     TEXT NOT NULL,
    transmitter TEXT NOT NULL,
    started_at  REAL NOT NULL
) STRICT;
CREATE TABLE calibration_windows (
    session         INTEGER NOT NULL REFERENCES calibration_sessions (id) ON DELETE CASCADE,
    distance_m      REAL    NOT NULL CHECK (distance_m >= 0),
    frames          INTEGER NOT NULL CHECK (frames > 0),
    rssi_sum        INTEGER NOT NULL,
    rssi_square_sum INTEGER NOT NULL,
    rssi_min        INTEGER NOT NULL,
    rssi_max        INTEGER NOT NULL,
    heard_windows   INTEGER NOT NULL,
    listened_windows INTEGER NOT NULL
) STRICT;
-- What is added to an RSSI, by adapter and by transmitter model.
CREATE TABLE corrections (
    kind      TEXT NOT NULL CHECK (kind IN ('adapter', 'transmitter')),
    name      TEXT NOT NULL,
    offset_db REAL NOT NULL,
    set_at    REAL NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
