CREATE COLLATION app.custom_rules (PROVIDER = icu, LOCALE = 'und', RULES = '&V << w <<< W');
