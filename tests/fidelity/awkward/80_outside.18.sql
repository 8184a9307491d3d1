CREATE PUBLICATION with_generated FOR TABLE app.virtual (a, s) WITH (publish_generated_columns = stored);
