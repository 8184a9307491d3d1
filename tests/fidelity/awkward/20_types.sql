CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy');
ALTER TYPE app.mood ADD VALUE 'so-so' BEFORE 'ok';
ALTER TYPE app.mood ADD VALUE 'it''s "complicated", \ or , so' AFTER 'sad';
ALTER TYPE app.mood RENAME VALUE 'happy' TO 'glücklich';
CREATE TYPE app.no_labels AS ENUM ();
ALTER TYPE app.mood OWNER TO awkward_owner;
COMMENT ON TYPE app.mood IS 'how it feels';

CREATE TYPE app."Weird ""composite" AS (a integer, "b ""c" text, "new
line" numeric(10, 2), mood app.mood);
COMMENT ON COLUMN app."Weird ""composite"."b ""c" IS 'a column of a composite type';
CREATE TYPE app.nested AS (inner_value app."Weird ""composite", many app.mood[]);
CREATE TYPE app.empty_composite AS ();

CREATE DOMAIN app.positive AS integer DEFAULT 7 CONSTRAINT "is > 0" CHECK (VALUE > 0);
CREATE DOMAIN app.small AS app.positive CHECK (VALUE < 1000);
ALTER DOMAIN app.small ADD CONSTRAINT even CHECK (VALUE % 2 = 0) NOT VALID;
CREATE DOMAIN app.word AS text COLLATE "C" CHECK (VALUE ~ '^\S+$');
CREATE DOMAIN app.positives AS integer[] NOT NULL CHECK (0 < ALL (VALUE));
CREATE DOMAIN app.pair AS app."Weird ""composite" CHECK (VALUE IS NULL OR (VALUE).a IS NOT NULL);
COMMENT ON DOMAIN app.positive IS 'above zero';
COMMENT ON CONSTRAINT "is > 0" ON DOMAIN app.positive IS 'a constraint of a domain';

CREATE FUNCTION app.float_distance(a float8, b float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT a - b';
CREATE TYPE app.float_range AS RANGE (subtype = float8, subtype_diff = app.float_distance);
CREATE TYPE app.text_range AS RANGE (subtype = text, collation = "C");

-- A base type of our own, over the functions of a built-in one; and a shell that never became a type.
CREATE TYPE app.number;
CREATE FUNCTION app.number_in(cstring) RETURNS app.number LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION app.number_out(app.number) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE FUNCTION app.number_recv(internal) RETURNS app.number LANGUAGE internal IMMUTABLE STRICT AS 'int4recv';
CREATE FUNCTION app.number_send(app.number) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int4send';
CREATE TYPE app.number (INPUT = app.number_in, OUTPUT = app.number_out, RECEIVE = app.number_recv,
    SEND = app.number_send, INTERNALLENGTH = 4, PASSEDBYVALUE, ALIGNMENT = int4, DEFAULT = '42');
CREATE TYPE app.shell;
COMMENT ON TYPE app.number IS 'a base type';

CREATE FUNCTION app.number_lt(app.number, app.number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4lt';
CREATE FUNCTION app.number_le(app.number, app.number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4le';
CREATE FUNCTION app.number_eq(app.number, app.number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4eq';
CREATE FUNCTION app.number_ge(app.number, app.number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4ge';
CREATE FUNCTION app.number_gt(app.number, app.number) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int4gt';
CREATE FUNCTION app.number_cmp(app.number, app.number) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE FUNCTION app.number_hash(app.number) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'hashint4';
CREATE OPERATOR app.< (FUNCTION = app.number_lt, LEFTARG = app.number, RIGHTARG = app.number,
    COMMUTATOR = OPERATOR(app.>), NEGATOR = OPERATOR(app.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR app.<= (FUNCTION = app.number_le, LEFTARG = app.number, RIGHTARG = app.number,
    COMMUTATOR = OPERATOR(app.>=), NEGATOR = OPERATOR(app.>));
CREATE OPERATOR app.= (FUNCTION = app.number_eq, LEFTARG = app.number, RIGHTARG = app.number,
    COMMUTATOR = OPERATOR(app.=), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR app.>= (FUNCTION = app.number_ge, LEFTARG = app.number, RIGHTARG = app.number,
    COMMUTATOR = OPERATOR(app.<=), NEGATOR = OPERATOR(app.<));
CREATE OPERATOR app.> (FUNCTION = app.number_gt, LEFTARG = app.number, RIGHTARG = app.number,
    COMMUTATOR = OPERATOR(app.<), NEGATOR = OPERATOR(app.<=));
CREATE OPERATOR app.@#@ (FUNCTION = factorial, RIGHTARG = bigint);
COMMENT ON OPERATOR app.< (app.number, app.number) IS 'below';
CREATE OPERATOR FAMILY app.number_family USING btree;
CREATE OPERATOR CLASS app.number_ops DEFAULT FOR TYPE app.number USING btree FAMILY app.number_family AS
    OPERATOR 1 app.<, OPERATOR 2 app.<=, OPERATOR 3 app.=, OPERATOR 4 app.>=, OPERATOR 5 app.>,
    FUNCTION 1 app.number_cmp(app.number, app.number);
CREATE OPERATOR CLASS app.number_hash_ops DEFAULT FOR TYPE app.number USING hash AS
    OPERATOR 1 app.=, FUNCTION 1 app.number_hash(app.number);
CREATE OPERATOR FAMILY app.loose USING btree;
ALTER OPERATOR FAMILY app.loose USING btree ADD OPERATOR 1 pg_catalog.< (integer, bigint), FUNCTION 1 btint48cmp(integer, bigint);
COMMENT ON OPERATOR CLASS app.number_ops USING btree IS 'an order';
COMMENT ON OPERATOR FAMILY app.number_family USING btree IS 'a family';

CREATE FUNCTION app.to_number(integer) RETURNS app.number LANGUAGE internal IMMUTABLE STRICT AS 'int4up';
CREATE CAST (integer AS app.number) WITH FUNCTION app.to_number(integer) AS ASSIGNMENT;
CREATE CAST (app.number AS integer) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (app.mood AS varchar) WITH INOUT;
COMMENT ON CAST (integer AS app.number) IS 'a cast';

CREATE FUNCTION app.add_up(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 + coalesce($2, 0)';
CREATE AGGREGATE app.total(numeric) (SFUNC = app.add_up, STYPE = numeric, INITCOND = '0', COMBINEFUNC = numeric_add,
    PARALLEL = SAFE);
CREATE AGGREGATE app.moving(numeric) (SFUNC = app.add_up, STYPE = numeric, MSFUNC = numeric_add,
    MINVFUNC = numeric_sub, MSTYPE = numeric, MINITCOND = '0');
CREATE AGGREGATE app.my_percentile(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE AGGREGATE app.my_rank(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = ordered_set_transition_multi,
    STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
COMMENT ON AGGREGATE app.total(numeric) IS 'a sum';

CREATE COLLATION app.german (PROVIDER = icu, LOCALE = 'de-u-co-phonebk');
CREATE COLLATION app.ignore_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
CREATE COLLATION app.libc (PROVIDER = libc, LC_COLLATE = 'C', LC_CTYPE = 'C.UTF-8');
COMMENT ON COLLATION app.german IS 'as in a phone book';
CREATE CONVERSION app.from_latin1 FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION app.from_latin1 IS 'a conversion';

CREATE TEXT SEARCH PARSER app.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end,
    LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE app.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY app.plain (TEMPLATE = app.template, ACCEPT = false);
CREATE TEXT SEARCH DICTIONARY app.numbers (TEMPLATE = ext.intdict_template, MAXLEN = 4, REJECTLONG = true);
CREATE TEXT SEARCH DICTIONARY app.stemmer (TEMPLATE = snowball, LANGUAGE = german);
CREATE TEXT SEARCH CONFIGURATION app.search (PARSER = app.parser);
ALTER TEXT SEARCH CONFIGURATION app.search ADD MAPPING FOR asciiword, word WITH app.plain, app.stemmer;
ALTER TEXT SEARCH CONFIGURATION app.search ADD MAPPING FOR int, uint WITH app.numbers;
COMMENT ON TEXT SEARCH PARSER app.parser IS 'a parser';
COMMENT ON TEXT SEARCH TEMPLATE app.template IS 'a template';
COMMENT ON TEXT SEARCH DICTIONARY app.numbers IS 'a dictionary';
COMMENT ON TEXT SEARCH CONFIGURATION app.search IS 'a configuration';

CREATE FUNCTION app.language_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION app.inline_handler(internal) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION app.language_validator(oid) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE plpgsql_too HANDLER app.language_handler INLINE app.inline_handler VALIDATOR app.language_validator;
COMMENT ON LANGUAGE plpgsql_too IS 'a language';
CREATE TRANSFORM FOR app.number LANGUAGE plpgsql_too (FROM SQL WITH FUNCTION prsd_lextype(internal));
COMMENT ON TRANSFORM FOR app.number LANGUAGE plpgsql_too IS 'a transform';
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD heap_too IS 'an access method';

CREATE TABLE app.typed_values (
    id integer PRIMARY KEY, mood app.mood, composite app."Weird ""composite", nested app.nested,
    positive app.positive, small app.small, word app.word, positives app.positives, pair app.pair,
    floats app.float_range, texts app.text_range, number app.number, numbers app.number[],
    german text COLLATE app.german, any_case text COLLATE app.ignore_case, no_label app.no_labels,
    tags ext.hstore, address citext);
INSERT INTO app.typed_values VALUES
    (1, 'glücklich', ROW(1, E'a "quoted", (text) \\ and\nmore', 12.30, 'sad'),
     ROW(ROW(NULL, '', NULL, NULL), '{sad,NULL,"it''s \"complicated\", \\ or , so"}'), 1, 2, 'word', '{1,2}',
     ROW(1, NULL, NULL, NULL), '[1.5,)', '["a b","c\"d\\")', '17', '{1,-2147483648,NULL}', 'Ärger', 'ÄRGER', NULL,
     'a=>1, "b c"=>NULL, "q\"uote"=>"\\"', 'Someone@Example.ORG'),
    (2, NULL, NULL, ROW(NULL, NULL), 5, NULL, NULL, '{}', NULL, 'empty', '(,)', NULL, '{}', NULL, NULL, NULL, '', ''),
    (3, 'so-so', ROW(NULL, NULL, NULL, NULL), NULL, 5, 10, 'x', '{}', NULL, '(-infinity,infinity)', '(a,b]', '-5', '{}',
     'ß', 'SS', NULL, NULL, NULL);
CREATE INDEX ON app.typed_values (number);
CREATE INDEX ON app.typed_values USING hash (number);
CREATE INDEX ON app.typed_values (german, any_case);
