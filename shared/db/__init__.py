"""Postgres, the truth: tables, engine, migrations. docs/data.md explains the schema."""
