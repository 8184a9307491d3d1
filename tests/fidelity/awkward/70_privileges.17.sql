GRANT MAINTAIN ON app.parents TO awkward_reader;
