"""Bytes at rest: the framed archive, one standard .sql.zst that many can write and read at once."""
