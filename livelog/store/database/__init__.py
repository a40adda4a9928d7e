"""One SQLite file: opening, encryption, locking, migration."""
