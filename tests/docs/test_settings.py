"""docs/settings.md says what the settings classes say, no more and no less."""

from datetime import timedelta
from enum import Enum
from typing import Any

import pytest
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from shared.settings import CliSettings, GatewaySettings, RunnerSettings, ToolsvcSettings
from tests.docs.pages import code, page, rows, section

CLASSES: dict[str, type[BaseSettings]] = {
    "Gateway": GatewaySettings,
    "Runner": RunnerSettings,
    "toolsvc": ToolsvcSettings,
    "CLI": CliSettings,
}

#: Read where no settings class is: the heading below which each stands.
OTHERS = {
    "Every process": {"BATON_VERSION"},
    "`dev.py up`": {"DATABASE_URL", "REDIS_URL"},
    "Tests": {
        "BATON_TEST_DATABASE_URL",
        "BATON_TEST_REDIS_URL",
        "BATON_TEST_STORES",
        "BATON_FAIL_ON_SKIP",
        "BATON_BROWSER",
    },
}


@pytest.mark.parametrize("heading", CLASSES)
def test_each_setting_is_explained_with_its_default(heading: str) -> None:
    table = rows(section(page("docs/settings.md"), f"## {heading}"))
    explained = {code(name)[0]: (default, meaning) for name, default, meaning in table}
    assert explained == _facts(CLASSES[heading])


@pytest.mark.parametrize("heading", OTHERS)
def test_other_variables_are_explained(heading: str) -> None:
    table = rows(section(page("docs/settings.md"), f"## {heading}"))
    assert {name for cells in table for name in code(cells[0])} >= OTHERS[heading]


def _facts(settings: type[BaseSettings]) -> dict[str, tuple[str, str]]:
    return {
        str(field.alias): (_shown(field.default), field.description or "")
        for field in settings.model_fields.values()
    }


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if default is None or default == ():
        return "—"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, Enum):
        return f"`{default.value}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    if isinstance(default, timedelta):
        return f"`{default.days}d`"
    return f"`{default}`"
