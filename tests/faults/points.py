"""Named points: a place before and after each await of the product, without a word of it in there.

In processes that the tests start (`tests.faults.process`), the modules of a path are compiled with
each `await X` as `await at(name, X)`, and with `async with` and `async for` alike. A name holds
module, function and what is awaited, and no line: `runner.run:Driver._finish publisher.drained
before`. What is listed comes from the source, so a new await is a new point.
"""

import ast
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from stack.program import ROOT

T = TypeVar("T")

BEFORE, AFTER = "before", "after"

#: By these names the rewritten modules find what is below.
_AT, _AROUND, _EACH = "__fault_at__", "__fault_around__", "__fault_each__"

#: Called at each point; the process's faults are carried out in there.
_watchers: list[Callable[[str], None]] = []


def watch(callback: Callable[[str], None]) -> None:
    """Have `callback` called with the name of each point that this process passes."""
    _watchers.append(callback)


def passed(point: str) -> None:
    """A point is passed."""
    for callback in _watchers:
        callback(point)


def points_of(modules: Sequence[str]) -> list[str]:
    """All points of these modules, in the order of their source."""
    found: list[str] = []
    for module in modules:
        naming = _Naming(module)
        naming.visit(ast.parse(_file_of(module).read_text("utf-8")))
        found += naming.points
    return found


def modules_behind(*roots: str, beside: Iterable[str]) -> tuple[str, ...]:
    """The modules of ours that await something and are imported from these, directly or not.

    Those `beside` are left out; each of them has to be one.
    """
    found: set[str] = set()
    todo = [*roots]
    while todo:
        if (module := todo.pop()) not in found:
            found.add(module)
            todo += _imported_by(module)
    awaiting = {one for one in found if points_of([one])}
    left_out = set(beside)
    unknown = left_out - awaiting
    assert not unknown, f"no module that is imported and awaits something: {sorted(unknown)}"
    return tuple(sorted(awaiting - left_out))


def _imported_by(module: str) -> list[str]:
    """Modules of ours, in functions as well."""
    names: list[str] = []
    for node in ast.walk(ast.parse(_file_of(module).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += (node.module, *(f"{node.module}.{one.name}" for one in node.names))
        elif isinstance(node, ast.Import):
            names += (one.name for one in node.names)
    return [name for name in names if _file_of(name).is_file()]


def _file_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


def sides(*names: str) -> list[str]:
    """The points of these awaits; a name with a side is one already."""
    ends = (f" {BEFORE}", f" {AFTER}")
    return [
        point
        for name in names
        for point in ([name] if name.endswith(ends) else [name + end for end in ends])
    ]


def differences(modules: Sequence[str], reached: Iterable[str], left_out: Iterable[str]) -> str:
    """What is wrong with a list of points to which no story comes; empty if nothing is."""
    never = set(points_of(modules)) - set(reached)
    told = {
        "never reached": sorted(never - set(left_out)),
        "left out, and reached or not there": sorted(set(left_out) - never),
    }
    return "".join(f"\n{what}: {point}" for what, points in told.items() for point in points)


def rewrite(modules: Sequence[str]) -> None:
    """Have these modules pass their points, from their import on."""
    known = set(modules) & set(sys.modules)
    assert not known, f"imported already: {sorted(known)}"
    sys.meta_path.insert(0, _Finder(modules))


# ---------------------------------------------------------------------- what modules call
async def at(name: str, awaited: Awaitable[T]) -> T:
    """Await something between its two points; the second one is passed however it ended."""
    try:
        passed(f"{name} {BEFORE}")
    except BaseException:
        if isinstance(awaited, Coroutine):
            awaited.close()
        raise
    try:
        return await awaited
    finally:
        passed(f"{name} {AFTER}")


class Around:
    """An asynchronous context manager with points at both of its awaits."""

    def __init__(self, name: str, inner: Any) -> None:
        self.name, self.inner = name, inner

    async def __aenter__(self) -> Any:
        return await at(f"{self.name} enter", self.inner.__aenter__())

    async def __aexit__(self, *error: object) -> Any:
        return await at(f"{self.name} exit", self.inner.__aexit__(*error))


async def each(name: str, inner: Any) -> AsyncIterator[Any]:
    """An asynchronous iteration with points at each step."""
    iterator = aiter(inner)
    while True:
        try:
            found = await at(name, anext(iterator))
        except StopAsyncIteration:
            return
        yield found


# ---------------------------------------------------------------------- rewriting
class _Naming(ast.NodeTransformer):
    """Names each await of a module, and puts ours around it."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.points: list[str] = []
        self._path: list[str] = []
        self._numbers = Counter[str]()

    def _inside(self, node: Any) -> ast.AST:
        self._path.append(node.name)
        self.generic_visit(node)
        self._path.pop()
        made: ast.AST = node
        return made

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _inside  # noqa: N815

    def _name(self, awaited: ast.expr, *steps: str) -> ast.Constant:
        called = awaited.func if isinstance(awaited, ast.Call) else awaited
        what = ast.unparse(called).removeprefix("self.")
        name = f"{self.module}:{'.'.join(self._path)} {what}"
        self._numbers[name] += 1
        if (number := self._numbers[name]) > 1:
            name = f"{name}#{number}"
        for step in steps or ("",):
            self.points += [f"{name}{step} {side}" for side in (BEFORE, AFTER)]
        return ast.Constant(name)

    def visit_Await(self, node: ast.Await) -> ast.AST:
        name = self._name(node.value)
        self.generic_visit(node)
        node.value = _call(_AT, name, node.value)
        return node

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        for item in node.items:
            name = self._name(item.context_expr, " enter", " exit")
            item.context_expr = _call(_AROUND, name, self.visit(item.context_expr))
        node.body = [self.visit(one) for one in node.body]
        return node

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        name = self._name(node.iter)
        node.iter = _call(_EACH, name, self.visit(node.iter))
        node.body = [self.visit(one) for one in node.body]
        return node


def _call(function: str, name: ast.Constant, value: ast.expr) -> ast.Call:
    made = ast.Call(func=ast.Name(function, ast.Load()), args=[name, value], keywords=[])
    return ast.fix_missing_locations(ast.copy_location(made, value))


class _Loader(SourceFileLoader):
    """Compiles from the source, always: there is nothing of ours in cached bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        tree = _Naming(fullname).visit(ast.parse(self.get_data(self.path)))
        code: CodeType = compile(ast.fix_missing_locations(tree), self.path, "exec")
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update({_AT: at, _AROUND: Around, _EACH: each})
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = frozenset(modules)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin:
            spec.loader = _Loader(fullname, str(Path(spec.origin)))
        return spec
