"""Throw-away servers: for the demo, drills and the tests. They leave nothing behind."""
