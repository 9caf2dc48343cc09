-- Staff who may read the node's page.
CREATE TABLE staff (
    name       TEXT PRIMARY KEY,                -- small letters, digits, ._-
    password   TEXT NOT NULL,                   -- Argon2id, PHC string
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL                    -- when the password was set last
) STRICT, WITHOUT ROWID;

-- Who is signed in. The browser has the token, the store its SHA-256.
CREATE TABLE staff_sessions (
    digest    BLOB PRIMARY KEY CHECK (length(digest) = 32),
    name      TEXT NOT NULL REFERENCES staff (name) ON DELETE CASCADE,
    opened_at REAL NOT NULL,
    used_at   REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX staff_sessions_by_name ON staff_sessions (name);

-- Failed sign-ins by account, for names that exist and for names that do not: an HMAC of the name, since people type
-- passwords into the wrong field.
CREATE TABLE sign_in_failures (
    account      BLOB PRIMARY KEY CHECK (length(account) = 32),
    failures     INTEGER NOT NULL CHECK (failures > 0),
    last_at      REAL    NOT NULL,
    locked_until REAL    NOT NULL
) STRICT, WITHOUT ROWID;

-- How the parts of this node are, as the node process sees it.
CREATE TABLE health (
    part   TEXT PRIMARY KEY,                    -- node, broker, sensing, tracing, page
    state  TEXT NOT NULL CHECK (state IN ('well', 'waiting', 'trouble', 'off')),
    detail TEXT NOT NULL,                       -- for a technician, in English
    since  REAL NOT NULL,                       -- of this state
    at     REAL NOT NULL                        -- when it was last said
) STRICT, WITHOUT ROWID;
