"""The caller themself."""

from typing import Self
from uuid import UUID

from pydantic import Field

from gateway.api.routing import SignedIn, WithServices, api_router
from gateway.api.shapes import Shape
from gateway.auth.caller import Caller
from gateway.services import Services
from gateway.store import people
from gateway.store.people import Person
from shared.errors import BatonError
from shared.protocol.codes import Code

router = api_router("people")


class Me(Shape):
    """Who is asking."""

    id: UUID
    email: str = Field(examples=["ada@example.com"])
    admin: bool
    display_name: str | None = Field(examples=["Ada"])

    @classmethod
    def of(cls, person: Person, *, admin: bool) -> Self:
        """A person as they see themself."""
        return cls(
            id=person.id,
            email=person.email,
            admin=admin,
            display_name=person.display_name,
        )


async def describe(services: Services, caller: Caller) -> Me:
    """Read the caller's own row."""
    async with services.db.reading(caller.user_id) as db:
        person = await people.by_id(db, caller.user_id)
    if person is None:
        raise BatonError(Code.NOT_SIGNED_IN)
    return Me.of(person, admin=caller.admin)


@router.get("/me", operation_id="getMe")
async def get_me(caller: SignedIn, services: WithServices) -> Me:
    """Who I am."""
    return await describe(services, caller)
