"""docs/dependencies.md has a line for each direct dependency, and its licence as installed."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata

import pytest

from tests.docs.pages import page, rows, section

PROJECT = tomllib.loads(page("pyproject.toml"))
PAGE = page("docs/dependencies.md")
DECLARED = {
    "## To run": PROJECT["project"]["dependencies"],
    "## To develop": PROJECT["dependency-groups"]["dev"],
}
#: Metadata that names no licence, or names it otherwise than by its SPDX id; looked up by hand.
BY_HAND = {
    "itsdangerous": "BSD-3-Clause",
    "uvloop": "MIT OR Apache-2.0",
    "import-linter": "BSD-2-Clause",
}


@pytest.mark.parametrize("heading", DECLARED)
def test_every_direct_dependency_has_its_line(heading: str) -> None:
    shown = [cells[0] for cells in rows(section(PAGE, heading))]
    declared = [re.split(r"[\[<>=!~; ]", one)[0] for one in DECLARED[heading]]
    assert shown == sorted(declared)
    assert all(cells[2] for cells in rows(section(PAGE, heading)))


def test_licences_are_those_of_the_packages() -> None:
    for heading in DECLARED:
        for name, licence, _ in rows(section(PAGE, heading)):
            assert licence == _licence(name) or _licence(name) is None, name


def test_unusual_licences_have_their_reason() -> None:
    reasons = section(PAGE, "## Licences other than MIT, BSD and Apache")
    for heading in DECLARED:
        for name, licence, _ in rows(section(PAGE, heading)):
            assert not re.search("GPL|MPL", licence) or f"**{name}**" in reasons


def _licence(name: str) -> str | None:
    """The licence as the package says it; `None` where the package is not installed here."""
    if name in BY_HAND:
        return BY_HAND[name]
    try:
        found = metadata(name).json
    except PackageNotFoundError:
        return None
    return str(found.get("license_expression") or found.get("license"))
