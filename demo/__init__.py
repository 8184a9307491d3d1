"""The demo: a shop's database is backed up, ruined, restored and compared, and every command is shown."""
