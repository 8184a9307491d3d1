CREATE PUBLICATION filtered FOR TABLE app.parents (id, code) WHERE (id > 5 AND code <> 'it''s');
CREATE PUBLICATION by_schema FOR TABLES IN SCHEMA "select", "-rf", TABLE app.children WHERE (id > 1);
