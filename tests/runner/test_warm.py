"""A runner that has warmed up builds none of the SDK's types any more when its first call comes."""

import subprocess
import sys

from stack.program import ROOT

#: In a process of its own, for in ours other tests have built everything.
PROGRAM = """
import asyncio
import pydantic

from runner.models.client import LeanClient
from runner.models.warm import warm_up
from tests.runner.test_tap import long_answer, outcome

built = []
build = pydantic.BaseModel.model_rebuild.__func__

def count(cls, **asked):
    built.append(cls.__name__)
    return build(cls, **asked)

pydantic.BaseModel.model_rebuild = classmethod(count)
asyncio.run(warm_up())
print(len(built))
built.clear()
for api in ("responses", "chat"):
    recording = long_answer(api, 10, 4)
    asyncio.run(outcome(LeanClient, recording, [recording.body]))
print([name for name in built if name.startswith("Response") or name.startswith("Chat")])
"""


def test_the_first_call_builds_no_types() -> None:
    command = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    while_warming, at_the_call = ran.stdout.splitlines()
    assert int(while_warming) > 10
    assert at_the_call == "[]"
