"""Commands: arguments in, tables and JSON out."""
