"""One SQLite file: how it is opened, encrypted, locked and migrated."""
