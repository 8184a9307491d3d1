CREATE TYPE app.float_range_too AS RANGE (subtype = float8, multirange_type_name = app.float_ranges_too);
CREATE TABLE app.multiranges (a int4multirange, b app.float_ranges_too, c tsmultirange, d app.float_multirange);
INSERT INTO app.multiranges VALUES
    ('{[1,3),[5,7)}', '{[0.1,0.2]}', '{["2020-01-01 00:00:00","infinity"]}', '{}'), ('{}', NULL, '{(,)}', '{(,1.5)}');
