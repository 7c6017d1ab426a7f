"""Spans as a tree."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.api.trace import MAX_DEPTH, Span, tree
from gateway.store.spans import SpanRow
from tests.gateway.rig import Rig, user_message


def row(id_: str, parent: str | None, at: int = 0) -> SpanRow:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    return SpanRow(id_, parent, moment, moment, {"type": "agent", "name": id_}, None)


def shape(spans: list[Span]) -> Any:
    return {span.id: shape(span.children) for span in spans}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], {}),
        ([("a", None), ("b", "a"), ("c", "a"), ("d", "b")], {"a": {"b": {"d": {}}, "c": {}}}),
        ([("b", "a"), ("a", None)], {"a": {"b": {}}}),
        ([("a", "lost"), ("b", "a")], {"a": {"b": {}}}),
        ([("a", "a")], {"a": {}}),
        ([("a", "b"), ("b", "a"), ("c", None)], {"c": {}, "a": {"b": {}}}),
    ],
)
def test_trees(rows: list[tuple[str, str | None]], expected: Any) -> None:
    assert shape(tree([row(id_, parent) for id_, parent in rows])) == expected


def test_a_span_that_was_altered_by_hand_is_shown_without_its_data() -> None:
    (span,) = tree([row("a", None)._replace(data=[])])
    assert (span.type, span.name, span.data) == (None, None, {})


def test_a_very_deep_trace_can_be_written_as_json() -> None:
    rows = [row(f"s{n}", f"s{n - 1}" if n else None, n) for n in range(3000)]
    (top,) = tree(rows)
    assert top.model_dump_json().count('"id"') == 3000
    depth, here = 1, top
    while here.children:
        depth, here = depth + 1, here.children[0]
    assert depth == MAX_DEPTH + 1


@pytest.mark.stores
@pytest.mark.asyncio
async def test_the_trace_of_a_run_is_that_of_its_root(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    for n in (1, 2):
        said = {"runId": f"run_{n}", "messages": [user_message(f"m{n}")]}
        await ada.post("/api/threads/thr_1/runs", json={"agent": "Assistant", "input": said})
    root = await rig.value("SELECT id FROM runs WHERE public_id = 'run_1'")
    await rig.sql("UPDATE runs SET root_id = :root", root=root)
    for id_, parent, kind in (("s1", None, "agent"), ("s2", "s1", "generation")):
        await rig.sql(
            "INSERT INTO spans (id, root_id, parent_id, fence, started_at, ended_at, data) VALUES "
            "(:id, :root, :parent, 1, now(), now(), CAST(:data AS json))",
            id=id_,
            root=root,
            parent=parent,
            data=f'{{"type": "{kind}"}}',
        )
    for run in ("run_1", "run_2"):
        trace = (await ada.get(f"/api/runs/{run}/trace")).json()
        assert trace["traceId"] == f"trace_{root.hex}"
        assert trace["spans"][0]["children"][0]["type"] == "generation"
        assert trace["truncated"] is False
