"""States that the tests of decisions begin with."""
