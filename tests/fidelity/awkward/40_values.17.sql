CREATE TABLE app.times_17 (i interval);
INSERT INTO app.times_17 VALUES ('infinity'), ('-infinity');
