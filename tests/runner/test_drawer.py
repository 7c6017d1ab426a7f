"""Files for an agent's own code: through toolsvc, in Python's own words."""

from typing import Any

import pytest

from baton import put_file, read_file
from baton.files import DRAWER
from runner.drawer import drawer_of
from runner.scope import SCOPE
from shared.errors import BatonError
from shared.protocol.codes import Code
from tests.runner.doubles import carried

pytestmark = pytest.mark.asyncio


class Toolsvc:
    """Keeps one file, and refuses large ones."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, bytes]] = {}

    async def put_file(self, name: str, content: bytes, *, token: Any, scope: str) -> str:
        if len(content) > 5:
            raise BatonError(Code.TOO_LARGE, "Too large.")
        self.kept["file_1"] = (f"{scope}: {name}", content)
        return "[a](/api/files/file_1)"

    async def file(self, token: Any, id_: str) -> bytes:
        if id_ not in self.kept:
            raise BatonError(Code.NOT_FOUND)
        return self.kept[id_][1]


async def test_code_keeps_and_reads_files_of_its_run() -> None:
    toolsvc = Toolsvc()
    run = carried(toolsvc)
    scope = run.root.invocation("A", "digest")
    SCOPE.set(scope)
    DRAWER.set(drawer_of(run))
    assert await put_file("a.txt", "häl") == "[a](/api/files/file_1)"
    assert toolsvc.kept == {"file_1": (f"{scope.name}: a.txt", "häl".encode())}
    assert await read_file("file_1") == "häl".encode()
    with pytest.raises(FileNotFoundError):
        await read_file("file_2")
    with pytest.raises(ValueError, match="Too large"):
        await put_file("a.txt", b"123456")


async def test_outside_of_a_run_there_are_none() -> None:
    DRAWER.set(None)
    for work in (put_file("a", "b"), read_file("file_1")):
        with pytest.raises(RuntimeError, match="run"):
            await work
