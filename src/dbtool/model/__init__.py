"""What everything talks about: frozen dataclasses, no I/O."""
