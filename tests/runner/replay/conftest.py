"""Replays wait less for stragglers here than in production, and snapshots are taken at each turn.

The SDK is patched for a test only.
"""

from collections.abc import Iterator

import pytest

from runner.borrowed import patched_sdk


@pytest.fixture(autouse=True)
def _patched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("runner.journal.QUIET_S", 0.05)
    monkeypatch.setattr("runner.snapshots.EVERY_TURNS", 1)
    with patched_sdk():
        yield
