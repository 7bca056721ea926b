"""Reading and writing the tables, as endpoints and jobs do it."""
