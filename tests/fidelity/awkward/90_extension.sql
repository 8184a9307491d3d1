-- An extension whose tables hold the user's rows beside its own; only where the server has it.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'awkward_config') AS "there" \gset
\if :there
CREATE EXTENSION awkward_config;
INSERT INTO awkward_config."settings ""parent" (id, note) SELECT i, 'of the user' FROM generate_series(10, 30) i;
INSERT INTO awkward_config.a_child SELECT i, 40 - i, 'child' FROM generate_series(10, 30) i;
INSERT INTO awkward_config.a_child VALUES (1, NULL, 'of a standard row');
INSERT INTO awkward_config.all_rows (t) VALUES ('one'), ('two');
INSERT INTO awkward_config.not_configuration VALUES ('not in any dump');
SELECT nextval('awkward_config.counter'), nextval('awkward_config.counter') \g /dev/null
GRANT SELECT ON awkward_config.all_rows TO awkward_reader;
CREATE VIEW app.over_extension AS SELECT * FROM awkward_config.all_rows;
\endif
