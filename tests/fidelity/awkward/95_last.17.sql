CREATE FUNCTION app.at_login() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RETURN; END';
CREATE EVENT TRIGGER at_login ON login EXECUTE FUNCTION app.at_login();
