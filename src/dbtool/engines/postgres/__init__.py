"""PostgreSQL: connecting, client programs, dumping, loading."""
