"""MySQL and MariaDB: connecting, dumping, loading."""
