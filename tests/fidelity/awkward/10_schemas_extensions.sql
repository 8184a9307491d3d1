CREATE SCHEMA app AUTHORIZATION awkward_owner;
CREATE SCHEMA "Weird ""schema";
CREATE SCHEMA "select";
CREATE SCHEMA "-rf";
CREATE SCHEMA "new
line";
CREATE SCHEMA empty_schema;
CREATE SCHEMA ext;
COMMENT ON SCHEMA app IS E'an application\nwith \\. a backslash, a ''quote'' and a "double" one\n-- and a comment';
COMMENT ON SCHEMA public IS 'no longer the standard schema';
CREATE EXTENSION hstore WITH SCHEMA ext;
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm WITH SCHEMA ext;
CREATE EXTENSION btree_gist WITH SCHEMA ext;
CREATE EXTENSION dict_int WITH SCHEMA ext;
CREATE EXTENSION tablefunc WITH SCHEMA ext;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION file_fdw;
CREATE EXTENSION "uuid-ossp" WITH SCHEMA ext;
CREATE EXTENSION bloom;
COMMENT ON EXTENSION hstore IS 'pairs, and a comment of our own';

CREATE TABLE public.ordinary (id integer PRIMARY KEY, note text);
INSERT INTO public.ordinary SELECT i, 'row ' || i FROM generate_series(1, 1000) i;
COMMENT ON TABLE public.ordinary IS 'nothing special';
