"""The tables as SQLAlchemy core sees them: rows are read by column, without an identity map."""

from shared.db.tables import METADATA

USERS = METADATA.tables["users"]
SIGN_INS = METADATA.tables["sign_ins"]
API_KEYS = METADATA.tables["api_keys"]
INVITES = METADATA.tables["invites"]
THREADS = METADATA.tables["threads"]
MESSAGES = METADATA.tables["messages"]
RUNS = METADATA.tables["runs"]
EVENTS = METADATA.tables["events"]
HEADS = METADATA.tables["heads"]
FILES = METADATA.tables["files"]
SPANS = METADATA.tables["spans"]
RUNNERS = METADATA.tables["runners"]
