"""Replays wait less for stragglers here than in production."""

import pytest


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.journal.QUIET_S", 0.05)
