CREATE TABLE app.nulls_once (a integer UNIQUE NULLS NOT DISTINCT, b integer);
INSERT INTO app.nulls_once VALUES (NULL, 1), (1, 2);
CREATE UNIQUE INDEX ON app.nulls_once (b) NULLS NOT DISTINCT;
CREATE TABLE app.partly_nulled (id integer PRIMARY KEY, a integer, b integer,
    FOREIGN KEY (a, b) REFERENCES app.parents (a, b) ON DELETE SET NULL (a));
INSERT INTO app.partly_nulled VALUES (1, 1, -1), (2, NULL, NULL);
CREATE UNLOGGED SEQUENCE app.unlogged_sequence;
SELECT nextval('app.unlogged_sequence') \g (format=unaligned tuples_only=on) /dev/null
