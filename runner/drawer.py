"""The files of a run for its agent's code; see baton/files.py."""

from functools import partial

from baton.files import Drawer
from runner.carried import CarriedRun
from runner.scope import SCOPE
from shared.errors import BatonError
from shared.protocol.codes import Code

#: Of these the agent's code has to hear in Python's own words.
_REFUSED = (Code.BAD_INPUT, Code.TOO_LARGE)


def drawer_of(run: CarriedRun) -> Drawer:
    """How code of this run keeps and reads files, on whatever loop it is."""
    return Drawer(partial(_put, run), partial(_read, run))


async def _put(run: CarriedRun, name: str, content: bytes) -> str:
    scope = SCOPE.get()
    try:
        return await run.home.run(
            run.record.put_file,
            name,
            content,
            token=run.committer.token,
            scope=scope.name if scope else "",
        )
    except BatonError as error:
        if error.code in _REFUSED:
            raise ValueError(error.message) from None
        raise


async def _read(run: CarriedRun, id_: str) -> bytes:
    try:
        return await run.home.run(run.record.file, run.committer.token, id_)
    except BatonError as error:
        if error.code is Code.NOT_FOUND:
            raise FileNotFoundError(f"this thread has no file {id_}") from None
        raise
