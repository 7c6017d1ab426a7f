"""Who may sign in."""

from typing import Any

import pytest

from gateway.auth.policy import admit, admit_subject, is_admin, listed
from gateway.store.turns import Own
from shared.errors import BatonError
from shared.protocol.codes import Code
from tests.gateway.rig import Rig, gateway_settings

LISTS: dict[str, Any] = {
    "BATON_DEV_MODE": False,
    "BATON_ALLOWED_EMAILS": "example.com, one@other.example",
    "BATON_ADMIN_EMAILS": "root@admin.example, example.com",
}


@pytest.mark.parametrize(
    ("email", "entries", "found"),
    [
        ("ada@example.com", ("example.com",), True),
        ("ada@example.com", ("@Example.com",), True),
        ("ada@example.com", ("ADA@example.com",), True),
        ("ada@sub.example.com", ("example.com",), False),
        ("ada@notexample.com", ("example.com",), False),
        ("ada@example.com.evil", ("example.com",), False),
        ("bob@example.com", ("ada@example.com",), False),
        ("ada@example.com", (), False),
        ("ada@example.com", ("",), False),
    ],
)
def test_lists_hold_addresses_and_domains(email: str, entries: Any, found: Any) -> None:
    assert listed(email, entries) is found


def test_a_domain_makes_nobody_an_admin() -> None:
    settings = gateway_settings("postgresql://x/y", "redis://x", **LISTS)
    assert is_admin("root@admin.example", settings)
    assert not is_admin("ada@example.com", settings)


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_subject_is_who_somebody_is(rig: Rig) -> None:
    settings = gateway_settings("postgresql://x/y", "redis://x", **LISTS)
    async with rig.services.db.writing(Own.UPKEEP) as db:
        ada = await admit_subject(db, "ada@example.com", "issuer|1", settings)
        again = await admit_subject(db, "ada@example.com", "issuer|1", settings)
        moved = await admit_subject(db, "new@example.com", "issuer|1", settings)
        assert ada.id == again.id == moved.id
        for email, subject in (
            ("ada@example.com", "issuer|2"),
            ("ada@example.com", "other|1"),
            ("eve@elsewhere.example", "issuer|3"),
            ("eve@elsewhere.example", "issuer|1"),
            ("operator@localhost", "issuer|4"),
        ):
            with pytest.raises(BatonError) as caught:
                await admit_subject(db, email, subject, settings)
            assert caught.value.code is Code.FORBIDDEN
        assert await admit_subject(db, "root@admin.example", "issuer|5", settings)


@pytest.mark.stores
@pytest.mark.asyncio
async def test_an_address_that_may_not_sign_in_any_more_gives_way_to_the_issuers(rig: Rig) -> None:
    before = gateway_settings("postgresql://x/y", "redis://x", **LISTS)
    after = before.model_copy(update={"allowed_emails": ("renamed.example",)})
    async with rig.services.db.writing(Own.UPKEEP) as db:
        ada = await admit_subject(db, "ada@example.com", "issuer|1", before)
        bob = await admit_subject(db, "bob@example.com", "issuer|2", before)
        moved = await admit_subject(db, "ada@renamed.example", "issuer|1", after)
        assert (moved.id, moved.email) == (ada.id, "ada@renamed.example")
        with pytest.raises(BatonError) as caught:
            await admit_subject(db, "ada@renamed.example", "issuer|2", after)
        assert (caught.value.code, bob.id != ada.id) == (Code.FORBIDDEN, True)


@pytest.mark.stores
@pytest.mark.asyncio
async def test_the_invited_may_sign_in(rig: Rig) -> None:
    settings = gateway_settings("postgresql://x/y", "redis://x", **LISTS)
    operator = await rig.operator()
    await operator.post("/api/invites", json={"email": "eve@elsewhere.example"})
    async with rig.services.db.writing(Own.UPKEEP) as db:
        eve = await admit(db, "eve@elsewhere.example", settings)
        assert (await admit_subject(db, eve.email, "issuer|9", settings)).id == eve.id
