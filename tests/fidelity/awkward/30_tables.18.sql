CREATE TABLE app.virtual (
    a integer, v integer GENERATED ALWAYS AS (a * 2) VIRTUAL, s integer GENERATED ALWAYS AS (a * 3) STORED,
    w integer GENERATED ALWAYS AS (a + 1), b text, CONSTRAINT v_even CHECK (v % 2 = 0));
INSERT INTO app.virtual (a, b) VALUES (1, 'x'), (2, NULL), (NULL, 'y');
CREATE TABLE app.only_virtual (a integer GENERATED ALWAYS AS (1) VIRTUAL);
INSERT INTO app.only_virtual DEFAULT VALUES;
CREATE TABLE app.not_nulls (a integer CONSTRAINT "named ""not null" NOT NULL, b integer, c integer NOT NULL NO INHERIT);
INSERT INTO app.not_nulls VALUES (1, NULL, 1);
ALTER TABLE app.not_nulls ADD CONSTRAINT unproven_not_null NOT NULL b NOT VALID;
COMMENT ON CONSTRAINT "named ""not null" ON app.not_nulls IS 'not null';
CREATE TABLE app.not_enforced (id integer CHECK (id > 0) NOT ENFORCED,
    parent integer REFERENCES app.parents NOT ENFORCED);
INSERT INTO app.not_enforced VALUES (-1, -1);
CREATE TABLE app.temporal (id integer, valid daterange, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
CREATE TABLE app.temporal_child (id integer, valid daterange,
    FOREIGN KEY (id, PERIOD valid) REFERENCES app.temporal (id, PERIOD valid));
INSERT INTO app.temporal VALUES (1, '[2020-01-01,2020-02-01)'), (1, '[2020-02-01,2020-03-01)');
INSERT INTO app.temporal_child VALUES (1, '[2020-01-15,2020-02-15)');
