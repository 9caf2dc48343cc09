-- When a session was stored, by the clock that retention and the ledger go by; `started_at` is for people.
ALTER TABLE calibration_sessions ADD COLUMN logged_at REAL NOT NULL DEFAULT 0;
UPDATE calibration_sessions SET logged_at = started_at;
