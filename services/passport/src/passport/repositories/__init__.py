"""All SQL. Repositories take rows in and give domain values out."""
