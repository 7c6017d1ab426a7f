"""All tables in one place, for Alembic and for whoever wants the whole schema."""

from sqlmodel import SQLModel

from shared.db.conversations import Message, Run, Thread
from shared.db.files import File
from shared.db.interrupts import Interrupt
from shared.db.people import ApiKey, Invite, Note, SignIn, User
from shared.db.providers import ModelProvider, ProviderLoad
from shared.db.records import Effect, Event, Head, Runner, Snapshot, Span, Step

METADATA = SQLModel.metadata

__all__ = [
    "METADATA",
    "ApiKey",
    "Effect",
    "Event",
    "File",
    "Head",
    "Interrupt",
    "Invite",
    "Message",
    "ModelProvider",
    "Note",
    "ProviderLoad",
    "Run",
    "Runner",
    "SignIn",
    "Snapshot",
    "Span",
    "Step",
    "Thread",
    "User",
]
