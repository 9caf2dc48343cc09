-- Tags that this site handed out, so that it can tell their identifiers.
CREATE TABLE tags (
    label       TEXT PRIMARY KEY CHECK (label <> ''),   -- a pseudonym; '' means the zone or the wearer elsewhere
    secret      BLOB NOT NULL CHECK (length(secret) = 32),
    enrolled_at REAL NOT NULL                           -- wall clock of the node, seconds
) STRICT, WITHOUT ROWID;

-- How this node was used, since when: what it heard means something else in each mode.
CREATE TABLE site_modes (
    since REAL PRIMARY KEY,                             -- wall clock of the node, seconds
    mode  TEXT NOT NULL CHECK (mode IN ('zone', 'room', 'person'))
) STRICT, WITHOUT ROWID;
