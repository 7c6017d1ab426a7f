"""Files that people write in YAML: read strictly, and what is wrong is told with its line."""

import difflib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.wording import ended, said

M = TypeVar("M", bound=BaseModel)

#: Far more than anybody writes by hand.
MOST_BYTES = 1_048_576


class Part(BaseModel):
    """Something in such a file: its fields and no others, of their types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class YamlFileError(ValueError):
    """The file cannot be used; one sentence for each reason, with file and line."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = reasons


def written_in(path: Path) -> str:
    """The text of such a file. A pipe is not waited for, and nothing without an end is read.

    Raises:
        FileNotFoundError: there is none.
        YamlFileError: it cannot be read.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise YamlFileError([f"{path} cannot be read: it is no file."])
            written = file.read(MOST_BYTES + 1)
        if len(written) > MOST_BYTES:
            raise YamlFileError([f"{path} has more than {MOST_BYTES:,} bytes."])
        return written.decode("utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise YamlFileError([f"{path} cannot be read: {error}."]) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def parse_yaml(
    written: str, file: str, schema: type[M], part_of: Callable[[list[str]], type[Part] | None]
) -> tuple[M, yaml.Node]:
    """What a file says, and where; `part_of` tells what a field at a place would be one of.

    Raises:
        YamlFileError: it is no YAML, or says something wrong.
    """
    try:
        tree = yaml.compose(written, Loader=yaml.SafeLoader)
        if tree is None:
            raise YamlFileError([f"{file} is empty."])
        _refuse_repeats(tree, file)
        plain = yaml.safe_load(written)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or "it cannot be read as YAML"
        raise YamlFileError([f"{file}{line}: {why}."]) from None
    try:
        return schema.model_validate(plain), tree
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise YamlFileError([_sentence(tree, file, one, part_of) for one in found]) from None


def line_of(node: yaml.Node, place: list[str]) -> int:
    """The line of a field, or of the nearest one around it that is written down."""
    line = node.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _refuse_repeats(node: yaml.Node, file: str) -> None:
    """YAML's reader would take the last of two equal names without a word."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        for key, value in node.value:
            if names.count(key.value) > 1:
                line = key.start_mark.line + 1
                raise YamlFileError([f"{file}, line {line}: {key.value} is given twice."])
            _refuse_repeats(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeats(value, file)


def _sentence(
    tree: yaml.Node, file: str, problem: Any, part_of: Callable[[list[str]], type[Part] | None]
) -> str:
    place = [str(part) for part in problem["loc"] if part != "[key]"]
    where = f"{'.'.join(place)}: " if place else ""
    unknown = problem["type"] == "extra_forbidden"
    why = _unknown(place, part_of) if unknown else said(problem["msg"])
    return ended(f"{file}, line {line_of(tree, place)}: {where}{why}")


def _unknown(place: list[str], part_of: Callable[[list[str]], type[Part] | None]) -> str:
    """What to say of a field that there is not."""
    part = part_of(place)
    near = difflib.get_close_matches(place[-1], part.model_fields if part else (), n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"there is no such field{meant}"
