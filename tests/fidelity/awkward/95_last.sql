-- Large objects lie in no schema; what follows is the database's own.
CREATE EVENT TRIGGER log_ddl ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE INDEX', 'CREATE TRIGGER', 'CREATE FUNCTION', 'CREATE VIEW', 'CREATE POLICY', 'CREATE RULE')
    EXECUTE FUNCTION app.log_ddl();
CREATE EVENT TRIGGER log_drop ON sql_drop EXECUTE FUNCTION app.log_drop();
CREATE EVENT TRIGGER "refuse ""ddl" ON ddl_command_start WHEN TAG IN ('CREATE CAST', 'CREATE STATISTICS') EXECUTE FUNCTION app.refuse_ddl();
CREATE EVENT TRIGGER disabled_one ON table_rewrite EXECUTE FUNCTION app.refuse_ddl();
ALTER EVENT TRIGGER disabled_one DISABLE;
ALTER EVENT TRIGGER log_drop ENABLE REPLICA;
COMMENT ON EVENT TRIGGER log_ddl IS 'an event trigger';
SELECT current_database() AS this \gset
ALTER DATABASE :"this" SET search_path = "select", app, "Weird ""schema";
ALTER DATABASE :"this" SET "app.setting" = E'it''s a "value", with \\ and more';
ALTER DATABASE :"this" SET work_mem = '7MB';
ALTER DATABASE :"this" CONNECTION LIMIT 55;
ALTER ROLE awkward_app IN DATABASE :"this" SET search_path = app, public;
ALTER ROLE "Weird ""role" IN DATABASE :"this" SET statement_timeout = '5min';
COMMENT ON DATABASE :"this" IS E'a database with a ''comment''\nof two lines';
REVOKE ALL ON DATABASE :"this" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"this" TO awkward_reader WITH GRANT OPTION;
GRANT TEMPORARY, CREATE ON DATABASE :"this" TO "Weird ""role";
ALTER DATABASE :"this" OWNER TO awkward_owner;
