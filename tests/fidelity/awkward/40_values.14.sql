CREATE TABLE app.numbers_14 (n numeric);
INSERT INTO app.numbers_14 VALUES ('Infinity'), ('-Infinity'), ('NaN');
