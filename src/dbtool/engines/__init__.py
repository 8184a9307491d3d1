"""The database engines. Each has the same rooms under the same names; none imports the other."""
