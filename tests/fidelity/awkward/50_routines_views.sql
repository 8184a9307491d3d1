-- Function bodies that look like parts of a dump.
CREATE FUNCTION app.looks_like_a_dump() RETURNS text LANGUAGE plpgsql AS $body$
--
-- TOC entry 5 (class 1259 OID 16400)
-- Name: not_there; Type: TABLE; Schema: public; Owner: postgres
--
BEGIN
    RETURN 'COPY app.parents (id) FROM stdin;
1
\.
\restrict abcdefghijklmnopqrstuvwxyz
\unrestrict abcdefghijklmnopqrstuvwxyz
\connect template1

SET default_tablespace = '''';

--
-- PostgreSQL database dump complete
--
';
END
$body$;
CREATE FUNCTION app."f ""1""; DROP TABLE x; --"("a ""b" integer DEFAULT 1, INOUT c text DEFAULT 'it''s $_$ $$', VARIADIC d integer[] DEFAULT '{}')
    LANGUAGE sql AS $_$ SELECT $2 || '$$' || $1 $_$;
CREATE FUNCTION app.overloaded(integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE COST 7 AS 'SELECT $1';
CREATE FUNCTION app.overloaded(text) RETURNS SETOF text LANGUAGE sql STABLE ROWS 5 SECURITY DEFINER
    SET search_path = app, "Weird ""schema", pg_temp SET work_mem = '1MB' SET "DateStyle" = 'German, DMY' AS 'SELECT $1';
CREATE FUNCTION app.table_of(n integer) RETURNS TABLE ("id ""x" integer, t text) LANGUAGE plpgsql_too AS
    'BEGIN RETURN QUERY SELECT i, i::text FROM generate_series(1, n) i; END';
CREATE PROCEDURE app.a_procedure(a integer, INOUT b text) LANGUAGE plpgsql AS E'BEGIN\r\n\tb := b || a;\r\n\tCOMMIT;\r\nEND';
-- Bodies that name what is not there.
SET check_function_bodies = off;
CREATE FUNCTION app.broken() RETURNS integer LANGUAGE sql AS 'SELECT id FROM nowhere.no_table';
RESET check_function_bodies;
COMMENT ON FUNCTION app.overloaded(integer) IS 'a function';
COMMENT ON PROCEDURE app.a_procedure(integer, text) IS 'a procedure';
ALTER FUNCTION app.overloaded(text) OWNER TO "Weird ""role";
CREATE FUNCTION app.supported(text) RETURNS boolean LANGUAGE internal IMMUTABLE SUPPORT pg_catalog.textlike_support AS 'textlen';

CREATE SEQUENCE app.descending AS smallint INCREMENT -3 MINVALUE -100 MAXVALUE 5 START 5 CYCLE CACHE 10;
SELECT nextval('app.descending'), nextval('app.descending') \g /dev/null
CREATE SEQUENCE app.never_called START 17;
CREATE SEQUENCE app.at_its_end MAXVALUE 9223372036854775807;
SELECT setval('app.at_its_end', 9223372036854775807) \g /dev/null
CREATE SEQUENCE app.lowest MINVALUE -9223372036854775808 START -9223372036854775808;
CREATE SEQUENCE app.set_but_not_called;
SELECT setval('app.set_but_not_called', 500, false) \g /dev/null
CREATE SEQUENCE "Weird ""schema"."Weird ""sequence" OWNED BY "Weird ""schema"."Weird ""name"."a ""b";
ALTER TABLE "Weird ""schema"."Weird ""name" ALTER "a ""b" SET DEFAULT nextval('"Weird ""schema"."Weird ""sequence"');
SELECT nextval('"Weird ""schema"."Weird ""sequence"') \g /dev/null
ALTER SEQUENCE app.never_called OWNER TO awkward_owner;
COMMENT ON SEQUENCE app.descending IS 'a sequence';

CREATE VIEW app.simple_view WITH (security_barrier) AS SELECT id, code AS "co ""de", 'it''s \' AS text FROM app.parents WHERE a > 0;
CREATE VIEW app.checked_view AS SELECT * FROM app.simple_view WHERE id < 50 WITH CASCADED CHECK OPTION;
CREATE VIEW app.local_view AS SELECT * FROM app.parents WHERE id < 50 WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW app.counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 10;
CREATE VIEW app.no_columns_view AS SELECT;
ALTER VIEW app.simple_view ALTER id SET DEFAULT 5;
COMMENT ON VIEW app.simple_view IS 'a view';
COMMENT ON COLUMN app.simple_view.id IS 'a column of a view';
CREATE VIEW app.complicated AS
    WITH x AS MATERIALIZED (SELECT id, rank() OVER w AS r FROM app.parents WINDOW w AS (PARTITION BY a % 2 ORDER BY b))
    SELECT x.*, l.k, ARRAY(SELECT 1) AS arr, x.id OPERATOR(pg_catalog.+) 1 AS plus, 'ä' COLLATE app.german AS c
    FROM x LEFT JOIN LATERAL (SELECT id AS k FROM app.children c WHERE c.parent = x.id LIMIT 1) l ON true
    WHERE x.id IN (SELECT id FROM ONLY app.base_one) OR EXISTS (SELECT FROM app.no_columns) ORDER BY x.id USING <;
-- Depends on the primary key, which a dump makes last; and others depend on it.
CREATE VIEW app.grouped AS SELECT p.id, p.code, count(*) AS n FROM app.parents p JOIN app.children c ON c.parent = p.id GROUP BY p.id;
CREATE VIEW app.over_grouped AS SELECT * FROM app.grouped WHERE n > 1;
CREATE FUNCTION app.rows_of_grouped() RETURNS SETOF app.grouped LANGUAGE sql STABLE AS 'SELECT * FROM app.grouped';
CREATE TABLE app.of_view_row (g app.grouped);
INSERT INTO app.of_view_row SELECT ROW(1, 'x', 2)::app.grouped;
-- A view and a function that need each other.
CREATE VIEW app.circular AS SELECT 1 AS id, 'a'::text AS t;
CREATE FUNCTION app.takes_circular(app.circular) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE OR REPLACE VIEW app.circular AS SELECT app.takes_circular(NULL) AS id, 'a'::text AS t;
-- A table that is a view by rule, and rules on tables.
CREATE RULE instead AS ON INSERT TO app.simple_view DO INSTEAD INSERT INTO app.parents (id, code) VALUES (NEW.id, NEW."co ""de");
CREATE RULE "also ""rule" AS ON INSERT TO app.allowed WHERE NEW.code = 'x' DO ALSO (INSERT INTO app.parents (id) VALUES (-1); DELETE FROM app.parents WHERE id = -1);
CREATE TABLE app.ruled (a integer);
INSERT INTO app.ruled VALUES (1);
CREATE RULE no_insert AS ON INSERT TO app.ruled DO INSTEAD NOTHING;
ALTER TABLE app.ruled ENABLE ALWAYS RULE no_insert;
ALTER TABLE app.allowed DISABLE RULE "also ""rule";
COMMENT ON RULE no_insert ON app.ruled IS 'a rule';

CREATE MATERIALIZED VIEW app.summary AS SELECT a % 5 AS k, count(*) AS n FROM app.parents GROUP BY 1;
CREATE UNIQUE INDEX summary_key ON app.summary (k);
ALTER MATERIALIZED VIEW app.summary CLUSTER ON summary_key;
ALTER MATERIALIZED VIEW app.summary ALTER n SET STATISTICS 50;
CREATE MATERIALIZED VIEW app.a_over_summary WITH (fillfactor = 80) TABLESPACE "awkward space" AS SELECT sum(n) AS s FROM app.summary;
CREATE MATERIALIZED VIEW app.over_grouped_view AS SELECT * FROM app.over_grouped;
CREATE INDEX ON app.over_grouped_view (n);
CREATE MATERIALIZED VIEW app.unpopulated AS SELECT * FROM app.summary WITH NO DATA;
CREATE MATERIALIZED VIEW app.a_over_unpopulated AS SELECT 1 AS one FROM app.unpopulated WITH NO DATA;
COMMENT ON MATERIALIZED VIEW app.summary IS 'a materialised view';
