"""MariaDB: dbtool beside mariadb-dump, mariadb, mydumper and the bare socket."""
