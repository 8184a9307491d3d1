-- Roles and tablespaces are the server's and not the database's: made once, whichever databases follow.
SELECT format('CREATE ROLE %s', role) FROM (VALUES ('awkward_owner'), ('awkward_reader'), ('awkward_grantor'),
    ('awkward_app'), ('"Weird ""role"'), ('"-rf"'), ('"rôle ünï"')) r (role)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE quote_ident(rolname) = role) \gexec
ALTER ROLE awkward_app LOGIN;
GRANT awkward_reader TO awkward_app;
COMMENT ON ROLE awkward_owner IS 'owns what is not the superuser''s';
ALTER ROLE awkward_reader SET work_mem = '8MB';
SELECT 'SET allow_in_place_tablespaces = on',
       'CREATE TABLESPACE "awkward space" OWNER awkward_owner LOCATION ''''',
       'RESET allow_in_place_tablespaces'
WHERE NOT EXISTS (SELECT FROM pg_tablespace WHERE spcname = 'awkward space') \gexec
GRANT CREATE ON TABLESPACE "awkward space" TO awkward_app;
GRANT awkward_owner TO CURRENT_USER;
