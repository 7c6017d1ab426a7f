"""`security.yaml`: who may use which namespaces of agents.

What is wrong in it is told with its line at the start; docs/access.md explains it.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from shared.settings.access import Access
from shared.settings.common import SECURITY_FILE, ProcessSettings, refuse_setting
from shared.settings.yaml_file import Part, YamlFileError, parse_yaml


def _namespace(name: str) -> str:
    if not name or name != "/".join(part.strip() for part in name.split("/") if part.strip()):
        raise ValueError("a namespace is the beginning of model ids, like team or team/sub")
    return name


_Namespace = Annotated[str, AfterValidator(_namespace)]


class SecurityConfig(Part):
    """The whole file; what it does not say is allowed."""

    #: Folder below the folders of agents → who may see and use what lies in it.
    namespaces: dict[_Namespace, Access] = Field({}, max_length=1000)

    @model_validator(mode="after")
    def _no_namespace_twice(self) -> "SecurityConfig":
        folded = [name.casefold() for name in self.namespaces]
        if twice := next(
            (name for name in self.namespaces if folded.count(name.casefold()) > 1), ""
        ):
            raise ValueError(f"the namespace {twice} is there twice, in upper and lower case")
        return self

    def access_of(self, agent: str) -> Access:
        """What the longest namespace says that an agent's name begins with."""
        rules = {name.casefold(): access for name, access in self.namespaces.items()}
        parts = agent.casefold().split("/")
        for length in range(len(parts), 0, -1):
            if (access := rules.get("/".join(parts[:length]))) is not None:
                return access
        return Access()


def security_of(settings: ProcessSettings) -> SecurityConfig:
    """The rules; a file that cannot be used ends the process in words."""
    try:
        return load_security(settings.security_config)
    except YamlFileError as error:
        refuse_setting("BATON_SECURITY_CONFIG", str(error).rstrip("."), page="docs/access.md")


def load_security(path: Path) -> SecurityConfig:
    """Read the file; without one at the default place, everything is allowed.

    Raises:
        YamlFileError: it is not there, cannot be read, or says something wrong.
    """
    try:
        written = path.read_text("utf-8")
    except FileNotFoundError:
        if path == SECURITY_FILE:
            return SecurityConfig()
        raise YamlFileError([f"there is no file {path}."]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise YamlFileError([f"{path} cannot be read: {error}."]) from None
    return parse_yaml(written, str(path), SecurityConfig, _part_of)[0]


def _part_of(place: list[str]) -> type[Part] | None:
    if len(place) == 1:
        return SecurityConfig
    return Access if place[0] == "namespaces" and len(place) == 3 else None
