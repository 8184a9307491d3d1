"""PostgreSQL: dbtool beside pg_dump, psql and pg_restore."""
