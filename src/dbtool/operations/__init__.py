"""One file per verb: what dbtool does, in phases that can be read as a table of contents."""
