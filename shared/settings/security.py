"""`security.yaml`: who may use which namespaces of agents, and what code may import and use.

What is wrong in it is told with its line at the start; docs/access.md explains it.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.settings.access import Access
from shared.settings.common import SECURITY_FILE, ProcessSettings, refuse_setting
from shared.settings.yaml_file import Part, YamlFileError, parse_yaml, written_in


def _namespace(name: str) -> str:
    if not name or name != "/".join(part.strip() for part in name.split("/") if part.strip()):
        raise ValueError("a namespace is the beginning of model ids, like team or team/sub")
    return name


_Namespace = Annotated[str, AfterValidator(_namespace)]


_Patterns = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...],
    Field(max_length=1000, strict=False),
]


class Rule(Part):
    """Names or patterns (`aws*`): what `deny` has is refused; with `allow`, all that it has not."""

    allow: _Patterns | None = None
    deny: _Patterns = ()

    def refusal(self, *names: str) -> str | None:
        """What refuses something of these names, `deny: a*` or `allow`; `None` where nothing does.

        Something without a name is refused by every rule that says anything.
        """
        if (denied := self._denied(names)) is not None:
            return f"deny: {denied}"
        if self.allow is None or any(_fits(names, pattern) for pattern in self.allow):
            return None
        return "allow"

    def _denied(self, names: Sequence[str]) -> str | None:
        return next((one for one in self.deny if not names or _fits(names, one)), None)


def _fits(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


#: What an agent's code cannot do without.
ALWAYS_IMPORTED = ("__future__", "agents", "baton")


class Imports(Rule):
    """A rule for imports: no allow-list has to name what agents are written with."""

    def refusal(self, *names: str) -> str | None:
        """See Rule."""
        why = super().refusal(*names)
        return None if why == "allow" and set(names) & set(ALWAYS_IMPORTED) else why


class Commands(Rule):
    """A rule for commands, as they are written and by the end of their path."""

    def refusal(self, *names: str) -> str | None:
        """See Rule; the command comes first, then what it may start in its turn.

        That, and what a path ends with, allows nothing: it may be anybody's.
        """
        ends = [name.rpartition("/")[2] for name in names]
        if names and (denied := self._denied([*names, *ends])) is not None:
            return f"deny: {denied}"
        return super().refusal(*names[:1])


class AgentRules(Part):
    """What drop-in code may import and use."""

    #: Modules, or names in them, that its files import.
    imports: Imports = Imports()
    #: Classes of the SDK, such as `WebSearchTool`.
    hosted_tools: Rule = Rule()
    #: Programs that are started as MCP servers.
    mcp_commands: Commands = Commands()


class SecurityConfig(AgentRules):
    """The whole file; what it does not say is allowed."""

    #: Files of toolsvc's tools, by their names without `.py`.
    tool_modules: Rule = Rule()

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


def load_security(path: Path) -> SecurityConfig:
    """Read the file; without one at the default place, everything is allowed.

    Raises:
        YamlFileError: it is not there, cannot be read, or says something wrong.
    """
    try:
        written = written_in(path)
    except FileNotFoundError:
        if path == SECURITY_FILE:
            return SecurityConfig()
        raise YamlFileError([f"there is no file {path}."]) from None
    return parse_yaml(written, str(path), SecurityConfig, _part_of)[0]


def security_of(
    settings: ProcessSettings, read: Callable[[Path], SecurityConfig] = load_security
) -> SecurityConfig:
    """The rules; a file that cannot be used ends the process in words."""
    try:
        return read(settings.security_config)
    except YamlFileError as error:
        refuse_setting("BATON_SECURITY_CONFIG", str(error), page="docs/access.md")


def _part_of(place: list[str]) -> type[Part] | None:
    if len(place) == 1:
        return SecurityConfig
    if place[0] == "namespaces":
        return Access if len(place) == 3 else None
    return Rule if len(place) == 2 else None
