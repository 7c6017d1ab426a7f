"""`deploy-check` reads what recorded releases have left, and finds what a release could break."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import release
from agent.release import covers, examined, grown, recorded_releases
from shared.protocol.record import ClaimAnswer, Commit, Heartbeat
from shared.tokens import renewed_run_token, verify_run_token
from tests.releases.left_behind import SECRETS

RECORDED = recorded_releases()
KINDS = {
    *("requests of runners", "answers of toolsvc", "frames of clients", "streams of events"),
    *("announcements", "exported runs", "runs under way"),
}


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rehearsals have a test of their own."""
    monkeypatch.setattr(release, "_runs", lambda *_: None)


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.ndjson").read_text().splitlines()]


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_each_recorded_release_is_understood(folder: Path) -> None:
    found = examined(folder)
    assert found.problems == []
    assert set(found.tried) == KINDS - {"runs under way"}
    assert min(found.tried.values()) >= 5


def test_releases_come_in_the_order_of_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0.10.0", "0.9.1", "agents"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(release, "RELEASES", tmp_path)
    assert [one.name for one in recorded_releases()] == ["0.9.1", "0.10.0"]


class NowRequired(Heartbeat):
    """A field that the release before does not send."""

    zone: str


class NowStrict(Commit, extra="forbid"):
    """No fields of the release after."""


class NowForgetful(ClaimAnswer):
    """A field that the release before needs is gone."""

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return super().model_dump(exclude={"claimed": {"journal"}}, mode="json")


@pytest.mark.parametrize(
    ("number", "request_kind", "answer_kind", "why"),
    [
        (1, NowRequired, None, "zone"),
        (3, NowStrict, None, "Extra inputs are not permitted"),
        (0, None, NowForgetful, "something of it is lost"),
    ],
)
def test_messages_that_are_not_understood_any_more_are_named(
    number: int, request_kind: Any, answer_kind: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = list(release._ROUTES)
    path, known_request, known_answer = routes[number]
    routes[number] = (path, request_kind or known_request, answer_kind or known_answer)
    monkeypatch.setattr(release, "_ROUTES", routes)
    problems = examined(RECORDED[-1]).problems
    assert problems
    kind = "requests of runners" if request_kind else "answers of toolsvc"
    assert all(one.startswith(kind) for one in problems)
    assert any(why in one for one in problems)


def changed(file: Path, change: Callable[[str], str]) -> None:
    file.write_text(change(file.read_text()))


@pytest.mark.parametrize(
    ("file", "old", "new", "kind"),
    [
        ("frames.ndjson", '\\"op\\": \\"subscribe\\"', '\\"op\\": \\"ping\\"', None),
        ("frames.ndjson", "threadId", "thread", "frames of clients"),
        ("streams.json", '"data"', '"datum"', "streams of events"),
        ("announced.ndjson", " 1 1-1 1\\n", " 1 1-1 2\\n", "announcements"),
        ("exports", "RUN_STARTED", "RUN_STOPPED", "exported runs"),
    ],
)
def test_what_is_not_understood_is_named(
    file: str, old: str, new: str, kind: str | None, tmp_path: Path
) -> None:
    folder = shutil.copytree(RECORDED[-1], tmp_path / "0.1.0")
    for one in (folder / file).iterdir() if file == "exports" else [folder / file]:
        changed(one, lambda text: text.replace(old, new))
    problems = examined(folder).problems
    assert {one.partition(",")[0] for one in problems} == ({kind} if kind else set())


def test_unknown_fields_are_put_beside_all_that_is_known() -> None:
    told = {"fence": 1, "n": 1, "steps": [], "end": {"outcome": "finished", "messages": [{"a": 1}]}}
    read = Commit.model_construct(**Commit.model_validate(told | {"end": None}).__dict__)
    assert "fieldOfTheNextRelease" in grown(read, told)
    told["end"] = {"outcome": "finished"}
    assert "fieldOfTheNextRelease" in grown(Commit.model_validate(told), told)["end"]
    assert not covers({"a": [1]}, {"a": [1, 2]})
    assert not covers({"a": {}}, {"a": {"b": None}})


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_run_tokens_still_hold_and_can_be_renewed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner of the release before shows them to a toolsvc of this one."""
    tried = 0
    for one in lines(folder, "exchanges"):
        claimed = json.loads(one["answered"]).get("claimed") if one["path"] == "/claims" else None
        if claimed is None:
            continue
        at = claimed["token_expires"] - 60
        monkeypatch.setattr("shared.tokens.time.time", lambda at=at: at)
        claims = verify_run_token(SECRETS.run_token_key, claimed["token"])
        assert (str(claims.run), claims.fence) == (claimed["run"], claimed["fence"])
        assert claims.public_run == claimed["run_id"]
        renewed = renewed_run_token(
            SECRETS.run_token_key,
            claimed["token"],
            run=claims.run,
            fence=claims.fence,
            scopes=claims.scopes,
        )
        assert verify_run_token(SECRETS.run_token_key, renewed).thread == claims.thread
        tried += 1
    assert tried > 5
