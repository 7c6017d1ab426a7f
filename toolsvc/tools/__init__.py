"""The built-in tools, one file per tool or family, loaded by path like everybody's own."""
