CREATE TABLE app.compressed (a text COMPRESSION pglz, b text COMPRESSION lz4);
INSERT INTO app.compressed SELECT repeat('a', 10000), repeat('b', 10000) FROM generate_series(1, 3);
CREATE STATISTICS app.expression_statistics ON lower(t), (d + 1) FROM app.indexed;
CREATE STATISTICS app.single_expression ON lower(t) FROM app.indexed;
