"""The console: its grammar, completion, highlighting, and the shell around them."""
