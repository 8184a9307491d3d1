"""Where bytes go: one small protocol, one file per kind of place."""
