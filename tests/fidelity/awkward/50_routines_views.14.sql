CREATE FUNCTION app.atomic(a integer) RETURNS bigint LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT count(*) FROM app.grouped WHERE id > a; SELECT count(*) + atomic.a FROM app.parents; END;
CREATE FUNCTION app.returns_directly(a integer DEFAULT 3) RETURNS integer LANGUAGE sql IMMUTABLE RETURN a + 1;
CREATE PROCEDURE app.atomic_procedure(OUT b integer) LANGUAGE sql
    BEGIN ATOMIC INSERT INTO app.cycle_b VALUES (0, 0) RETURNING a; END;
CREATE TABLE app.defaults_from_functions (a integer DEFAULT app.returns_directly(), b bigint DEFAULT app.atomic(1));
CREATE VIEW app.searched AS
    WITH RECURSIVE s (id, self) AS (SELECT id, self FROM app.children WHERE id = 1 UNION ALL
        SELECT c.id, c.self FROM app.children c JOIN s ON c.id = s.self)
    SEARCH DEPTH FIRST BY id SET place CYCLE id SET looped USING path SELECT id, self, looped FROM s ORDER BY place;
