CREATE TABLE app.partitioned_identity (id integer GENERATED ALWAYS AS IDENTITY, k integer) PARTITION BY LIST (k);
CREATE TABLE app.partitioned_identity_1 PARTITION OF app.partitioned_identity FOR VALUES IN (1);
CREATE TABLE app.partitioned_identity_2 PARTITION OF app.partitioned_identity DEFAULT;
INSERT INTO app.partitioned_identity (k) VALUES (1), (2), (1);
ALTER TABLE app.storage_options ALTER d SET STATISTICS DEFAULT;
