"""Alembic migrations; each only adds."""
