"""Who holds no lease hears no bell."""

import asyncio

import pytest

from runner.own_lease import OwnLease


@pytest.mark.asyncio
async def test_before_the_first_renewal_there_is_none() -> None:
    lease = OwnLease()
    waiting = asyncio.create_task(lease.living())
    await asyncio.sleep(0)
    assert (lease.left_s(), waiting.done()) == (0, False)
    lease.renewed(4)
    assert 0 < await waiting <= 4


@pytest.mark.asyncio
async def test_a_doubt_lasts_until_the_next_renewal() -> None:
    lease = OwnLease()
    lease.renewed(4)
    assert await lease.living() > 0
    lease.doubt()
    waiting = asyncio.create_task(lease.living())
    await asyncio.sleep(0)
    assert not waiting.done()
    lease.renewed(4)
    assert await waiting > 0


@pytest.mark.asyncio
async def test_it_ends_by_itself() -> None:
    lease = OwnLease()
    lease.renewed(0)
    assert lease.left_s() == 0
