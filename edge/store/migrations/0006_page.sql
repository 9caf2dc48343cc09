-- Staff who may read the node's page.
CREATE TABLE staff (
    name         TEXT PRIMARY KEY,
    password     TEXT NOT NULL,                 -- Argon2id, PHC string
    created_at   REAL NOT NULL,
    failures     INTEGER NOT NULL DEFAULT 0,
    locked_until REAL NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
