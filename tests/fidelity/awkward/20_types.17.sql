CREATE COLLATION app.builtin (PROVIDER = builtin, LOCALE = 'C.UTF-8');
CREATE TABLE app.builtin_text (t text COLLATE app.builtin PRIMARY KEY);
INSERT INTO app.builtin_text VALUES ('ä'), ('Z'), ('a');
