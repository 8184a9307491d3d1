CREATE VIEW app.invoker_view WITH (security_invoker = true) AS SELECT * FROM app.parents;
