CREATE TABLE app.measurements (at date NOT NULL, city text COLLATE "C", value numeric, note text DEFAULT 'root')
    PARTITION BY RANGE (at);
-- Attached tables bring their own order of columns, dropped columns, defaults and indexes.
CREATE TABLE app.m2020 (note text DEFAULT 'of 2020', gone integer, value numeric, city text COLLATE "C", at date NOT NULL,
    CHECK (at >= '2020-01-01' AND at < '2021-01-01'));
ALTER TABLE app.m2020 DROP COLUMN gone;
INSERT INTO app.m2020 (at, city, value) VALUES ('2020-06-01', 'Zürich', 1.5);
CREATE INDEX m2020_own ON app.m2020 (city, value);
CREATE UNIQUE INDEX m2020_unique ON app.m2020 (at, city);
ALTER TABLE app.measurements ATTACH PARTITION app.m2020 FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE "Weird ""schema"."m ""2021" PARTITION OF app.measurements (note DEFAULT 'of 2021', CHECK (value > 0))
    FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY LIST (city);
CREATE TABLE app.m2021_a PARTITION OF "Weird ""schema"."m ""2021" FOR VALUES IN ('a', NULL, 'it''s');
CREATE TABLE app.m2021_rest PARTITION OF "Weird ""schema"."m ""2021" DEFAULT PARTITION BY HASH (value);
CREATE TABLE app.m2021_rest_0 PARTITION OF app.m2021_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0) TABLESPACE "awkward space";
CREATE TABLE app.m2021_rest_1 PARTITION OF app.m2021_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app.m_early PARTITION OF app.measurements FOR VALUES FROM (MINVALUE) TO ('2020-01-01') WITH (fillfactor = 60);
CREATE TABLE app.m_default PARTITION OF app.measurements DEFAULT;
CREATE UNIQUE INDEX measurements_unique ON app.measurements (at, city, value);
CREATE INDEX measurements_city ON ONLY app.measurements (city);
CREATE INDEX m_early_city ON app.m_early (city);
ALTER INDEX app.measurements_city ATTACH PARTITION app.m_early_city;
INSERT INTO app.measurements SELECT date '2019-07-01' + i, CASE i % 4 WHEN 0 THEN 'a' WHEN 1 THEN 'it''s' WHEN 2 THEN 'Ωmega' END, i + 0.5
FROM generate_series(0, 1500) i;
COMMENT ON TABLE app.measurements IS 'a partitioned table';
COMMENT ON COLUMN app.m2020.value IS 'a column of a partition';

-- Foreign keys from and to partitioned tables.
CREATE TABLE app.orders (id integer, region text, customer integer REFERENCES app.parents, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE app.orders_north PARTITION OF app.orders FOR VALUES IN ('north');
CREATE TABLE app.orders_south PARTITION OF app.orders FOR VALUES IN ('south');
CREATE TABLE app.order_lines (id integer, region text, line integer, FOREIGN KEY (id, region) REFERENCES app.orders) PARTITION BY HASH (id);
CREATE TABLE app.order_lines_0 PARTITION OF app.order_lines FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.order_lines_1 PARTITION OF app.order_lines FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app.order_notes (id integer, region text, note text, FOREIGN KEY (id, region) REFERENCES app.orders ON DELETE CASCADE);
INSERT INTO app.orders SELECT i, CASE i % 2 WHEN 0 THEN 'north' ELSE 'south' END, (i % 100) + 1 FROM generate_series(1, 200) i;
INSERT INTO app.order_lines SELECT id, region, l FROM app.orders, generate_series(1, 3) l;
INSERT INTO app.order_notes SELECT id, region, 'note' FROM app.orders;
-- One partition has, of its own, what the others have not.
CREATE FUNCTION app.noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER on_all AFTER INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.noop();
CREATE TRIGGER on_one BEFORE UPDATE ON app.orders_north FOR EACH ROW EXECUTE FUNCTION app.noop();
ALTER TABLE app.orders_south DISABLE TRIGGER on_all;
ALTER TABLE app.orders_north ADD CONSTRAINT only_here CHECK (id < 1000000);

-- The hash of an enum's label is that of its OID, which is another one after a restore.
CREATE TABLE app.by_mood (mood app.mood, n integer) PARTITION BY HASH (mood);
CREATE TABLE app.by_mood_0 PARTITION OF app.by_mood FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE app.by_mood_1 PARTITION OF app.by_mood FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE app.by_mood_2 PARTITION OF app.by_mood FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE app.by_mood_3 PARTITION OF app.by_mood FOR VALUES WITH (MODULUS 4, REMAINDER 3);
INSERT INTO app.by_mood SELECT m, n FROM unnest(enum_range(NULL::app.mood)) m, generate_series(1, 50) n;
INSERT INTO app.by_mood VALUES (NULL, 1);
CREATE TABLE app.by_mood_list (mood app.mood, n integer) PARTITION BY LIST (mood);
CREATE TABLE app.by_mood_list_sad PARTITION OF app.by_mood_list FOR VALUES IN ('sad', 'so-so');
CREATE TABLE app.by_mood_list_rest PARTITION OF app.by_mood_list DEFAULT;
INSERT INTO app.by_mood_list SELECT mood, n FROM app.by_mood;

CREATE TABLE app.by_expression (a integer, b text) PARTITION BY RANGE ((a % 10), app.slug(b) COLLATE "C");
CREATE TABLE app.by_expression_low PARTITION OF app.by_expression FOR VALUES FROM (MINVALUE, MINVALUE) TO (5, 'm');
CREATE TABLE app.by_expression_high PARTITION OF app.by_expression FOR VALUES FROM (5, 'm') TO (MAXVALUE, MAXVALUE);
INSERT INTO app.by_expression SELECT i, chr(97 + i % 26) FROM generate_series(1, 100) i;
CREATE TABLE app.no_partitions (a integer) PARTITION BY RANGE (a);
CREATE TABLE app.generated_partitions (a integer, b integer GENERATED ALWAYS AS (a + 1) STORED) PARTITION BY RANGE (a);
CREATE TABLE app.generated_partitions_1 (b integer GENERATED ALWAYS AS (a + 1) STORED, a integer);
ALTER TABLE app.generated_partitions ATTACH PARTITION app.generated_partitions_1 FOR VALUES FROM (0) TO (10);
INSERT INTO app.generated_partitions (a) VALUES (1), (2);
CREATE TABLE app.detached (LIKE app.measurements INCLUDING ALL);
