CREATE FOREIGN DATA WRAPPER no_handler OPTIONS (debug 'it''s \on');
CREATE FOREIGN DATA WRAPPER other_handler HANDLER postgres_fdw_handler VALIDATOR postgres_fdw_validator;
CREATE SERVER "Weird ""server" TYPE 'ty''pe' VERSION '1' FOREIGN DATA WRAPPER no_handler OPTIONS ("na me" 'va''lue');
CREATE SERVER far_away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1', port '1', dbname 'no"where');
ALTER SERVER far_away OWNER TO awkward_owner;
GRANT USAGE ON FOREIGN SERVER far_away TO awkward_reader WITH GRANT OPTION;
CREATE USER MAPPING FOR PUBLIC SERVER far_away OPTIONS (user 'someone', password 'se''cret');
CREATE USER MAPPING FOR "Weird ""role" SERVER "Weird ""server" OPTIONS (a 'b');
CREATE FOREIGN TABLE app.far_table (id integer OPTIONS (column_name 'x') NOT NULL, t text COLLATE "C" DEFAULT 'x', CHECK (id > 0))
    SERVER far_away OPTIONS (schema_name 's', table_name 't''t');
CREATE FOREIGN TABLE app.no_handler_table (a integer, g integer GENERATED ALWAYS AS (a + 1) STORED) SERVER "Weird ""server";
CREATE FOREIGN TABLE app.far_heir (extra text) INHERITS (app.base_two) SERVER "Weird ""server";
CREATE TABLE app.partly_foreign (k integer) PARTITION BY LIST (k);
CREATE TABLE app.partly_foreign_here PARTITION OF app.partly_foreign FOR VALUES IN (1);
CREATE FOREIGN TABLE app.partly_foreign_there PARTITION OF app.partly_foreign FOR VALUES IN (2) SERVER "Weird ""server";
INSERT INTO app.partly_foreign_here VALUES (1);
COMMENT ON FOREIGN DATA WRAPPER no_handler IS 'a wrapper';
COMMENT ON SERVER far_away IS 'a server';
COMMENT ON FOREIGN TABLE app.far_table IS 'a foreign table';

CREATE PUBLICATION some_tables FOR TABLE app.parents, ONLY app.base_one WITH (publish = 'insert, delete');
CREATE PUBLICATION "all ""tables" FOR ALL TABLES WITH (publish_via_partition_root = true);
CREATE PUBLICATION no_tables;
ALTER PUBLICATION no_tables OWNER TO CURRENT_USER;
COMMENT ON PUBLICATION some_tables IS 'a publication';
CREATE SUBSCRIPTION "sub ""scription" CONNECTION 'host=192.0.2.1 dbname=''no where'' password=secret' PUBLICATION a, "b ""c"
    WITH (connect = false, slot_name = NONE, synchronous_commit = 'off');
COMMENT ON SUBSCRIPTION "sub ""scription" IS 'a subscription';

-- Large objects: empty, of some megabytes, with privileges, comments, other owners, holes.
SELECT lo_create(4000000000), lo_from_bytea(4000000001, decode(repeat('00ff0a5c2e', 1000000), 'hex')),
    lo_from_bytea(4000000002, 'short'), lo_from_bytea(4000000003, decode(repeat('5c', 2048), 'hex')), lo_create(4000000004) \g /dev/null
SELECT lo_put(4000000004, 3000000, 'after a hole') \g /dev/null
ALTER LARGE OBJECT 4000000002 OWNER TO "Weird ""role";
GRANT SELECT ON LARGE OBJECT 4000000002 TO awkward_reader WITH GRANT OPTION;
REVOKE ALL ON LARGE OBJECT 4000000003 FROM CURRENT_USER;
COMMENT ON LARGE OBJECT 4000000000 IS 'an "empty" one, it''s';
SELECT lo_from_bytea((4000001000 + i)::oid, ('object ' || i)::bytea) FROM generate_series(1, 1200) i \g /dev/null
