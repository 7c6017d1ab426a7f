"""Migrations: Alembic, additive only, safe to start from several processes at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from shared.db.engine import driver_url

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config(url: str) -> Config:
    """Alembic's configuration for this schema, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = driver_url(url)
    return config


def upgrade(url: str) -> None:
    """Bring the schema up to date."""
    command.upgrade(alembic_config(url), "head")
