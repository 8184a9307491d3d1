CREATE TABLE app.triggered (id integer PRIMARY KEY, t text, touched integer DEFAULT 0);
CREATE TABLE app.trigger_log (what text);
-- Each row of these tables would grow in number, or fail to come in, if a trigger fired at the restore.
INSERT INTO app.triggered SELECT i, 't' || i FROM generate_series(1, 100) i;
CREATE FUNCTION app.log_it() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO app.trigger_log VALUES (TG_NAME); RETURN NEW; END$$;
CREATE FUNCTION app.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'refused by %', TG_NAME; END$$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OF t ON app.triggered FOR EACH ROW WHEN (NEW.id IS DISTINCT FROM 5) EXECUTE FUNCTION app.log_it('an "argument"', E'with\nnew \\ line''s');
CREATE TRIGGER "after ""statement" AFTER INSERT ON app.triggered REFERENCING NEW TABLE AS "new ""rows" FOR EACH STATEMENT EXECUTE FUNCTION app.log_it();
CREATE TRIGGER always_refuses BEFORE INSERT ON app.triggered FOR EACH ROW EXECUTE FUNCTION app.refuse();
ALTER TABLE app.triggered ENABLE ALWAYS TRIGGER always_refuses;
CREATE TRIGGER replica_only AFTER DELETE ON app.triggered FOR EACH ROW EXECUTE FUNCTION app.log_it();
ALTER TABLE app.triggered ENABLE REPLICA TRIGGER replica_only;
CREATE TRIGGER disabled AFTER TRUNCATE ON app.triggered EXECUTE FUNCTION app.log_it();
ALTER TABLE app.triggered DISABLE TRIGGER disabled;
CREATE CONSTRAINT TRIGGER constraint_trigger AFTER INSERT OR UPDATE ON app.triggered FROM app.parents DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION app.refuse();
CREATE VIEW app.triggered_view AS SELECT id FROM app.triggered;
CREATE TRIGGER instead_of INSTEAD OF INSERT ON app.triggered_view FOR EACH ROW EXECUTE FUNCTION app.log_it();
COMMENT ON TRIGGER before_row ON app.triggered IS 'a trigger';

CREATE TABLE app.guarded (id integer, owner text DEFAULT current_user);
INSERT INTO app.guarded VALUES (1, 'awkward_owner'), (2, 'awkward_reader'), (3, 'nobody');
ALTER TABLE app.guarded OWNER TO awkward_owner;
ALTER TABLE app.guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON app.guarded USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY "Weird ""policy" ON app.guarded AS RESTRICTIVE FOR SELECT TO awkward_reader, "Weird ""role" USING (id IN (SELECT id FROM app.parents));
CREATE POLICY not_enabled ON app.parents FOR INSERT WITH CHECK (id > 0);
COMMENT ON POLICY own_rows ON app.guarded IS 'a policy';

-- Event triggers that would tell on a restore that makes them too early.
CREATE TABLE app.ddl_log (tag text);
CREATE FUNCTION app.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.ddl_log VALUES (tg_tag); END$$;
CREATE FUNCTION app.log_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.ddl_log SELECT object_identity FROM pg_catalog.pg_event_trigger_dropped_objects(); END$$;
CREATE FUNCTION app.refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no % here', tg_tag; END$$;
