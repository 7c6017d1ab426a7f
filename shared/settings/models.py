"""`models.yaml`: the model servers, and the policy towards each.

The file names no keys, only the variables that hold them. What is wrong in it is told with its line
at the start; docs/models.md explains it.
"""

import difflib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.protocol.providers import ProviderName
from shared.settings.common import HttpUrl
from shared.wording import said

DEFAULT_PATH = Path("src/config/models.yaml")

#: The name of a variable of the environment, which holds a secret.
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
_ModelName = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Breaker(_Part):
    """When a server counts as down, and for how long nobody asks it then."""

    failures: int = Field(10, ge=1, le=10_000)
    open_s: float = Field(10, gt=0, le=3600)


class Provider(_Part):
    """One model server, and how it is treated."""

    #: Where it answers; `OPENAI_BASE_URL` unless given.
    base_url: HttpUrl | None = None
    #: The variable that holds its key; `OPENAI_API_KEY` for a provider without a `base_url`.
    key_env: _Variable | None = None
    #: Headers of each request → the variables that hold their values.
    headers: dict[_Header, _Variable] = Field({}, max_length=50)
    #: What it speaks: `responses`, `chat` (Chat Completions), or what it is found to speak.
    api: Literal["auto", "responses", "chat"] = "auto"
    #: Whether Chat Completions are asked for the tokens they took; a few servers refuse to be.
    include_usage: bool = True
    #: Names or patterns (`gpt-*`) of its models; none: all that no other provider has.
    models: tuple[str, ...] = Field((), strict=False)
    #: Whether an answer that breaks off in the middle is taken back and asked for again.
    restart: bool = False
    #: Calls at once, over all runners; `None`: any number.
    concurrency: int | None = Field(None, ge=1, le=100_000)
    #: Further tries of one call, and seconds from its first try within which they begin.
    retries: int = Field(5, ge=0, le=100)
    retry_for_s: float = Field(60, ge=0, le=3600)
    #: Longest silence before a call counts as hung; `BATON_MODEL_SILENCE_S` unless given.
    silence_s: float | None = Field(None, gt=0, le=86_400)
    breaker: Breaker = Breaker()

    def variables(self) -> list[str]:
        """The variables that hold its secrets."""
        return [*([self.key_env] if self.key_env else []), *self.headers.values()]


class Alias(_Part):
    """What a name that agents use stands for."""

    model: _ModelName
    #: Who has it; without, whoever has that model's name.
    provider: ProviderName | None = None


class ModelsConfig(_Part):
    """The whole file."""

    providers: dict[ProviderName, Provider] = Field(min_length=1, max_length=100)
    aliases: dict[_ModelName, Alias] = Field({}, max_length=1000)

    @model_validator(mode="after")
    def _one_takes_the_rest(self) -> "ModelsConfig":
        rest = [name for name, one in self.providers.items() if not one.models]
        if len(rest) > 1:
            raise ValueError(f"only one provider may be without models: {' and '.join(rest)} are")
        return self

    def provider_of(self, model: str) -> str | None:
        """The name of the provider that a model belongs to: of the first whose pattern fits."""
        for name, provider in self.providers.items():
            if any(fnmatchcase(model, pattern) for pattern in provider.models):
                return name
        return next((name for name, one in self.providers.items() if not one.models), None)

    def meant(self, name: str) -> tuple[str, str | None]:
        """The model that a name means, an alias or its own, and the provider that it belongs to."""
        alias = self.aliases.get(name) or Alias(model=name)
        return alias.model, alias.provider or self.provider_of(alias.model)


class ModelsConfigError(ValueError):
    """The file cannot be used; one sentence for each reason, with file and line."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = reasons


def load_models(path: Path = DEFAULT_PATH) -> ModelsConfig:
    """Read the file; without one at the default place, a single provider named `default`.

    Raises:
        ModelsConfigError: it is not there, cannot be read, or says something wrong.
    """
    try:
        written = path.read_text("utf-8")
    except FileNotFoundError:
        if path == DEFAULT_PATH:
            return ModelsConfig(providers={"default": Provider()})
        raise ModelsConfigError([f"there is no file {path}."]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelsConfigError([f"{path} cannot be read: {error}."]) from None
    return _parsed(written, str(path))


def _parsed(written: str, file: str) -> ModelsConfig:
    try:
        tree = yaml.compose(written, Loader=yaml.SafeLoader)
        if tree is None:
            raise ModelsConfigError([f"{file} is empty."])
        _refuse_repeats(tree, file)
        plain = yaml.safe_load(written)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or "it cannot be read as YAML"
        raise ModelsConfigError([f"{file}{line}: {why}."]) from None
    try:
        config = ModelsConfig.model_validate(plain)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise ModelsConfigError([_sentence(tree, file, one) for one in found]) from None
    if homeless := _homeless(config, tree, file):
        raise ModelsConfigError(homeless)
    return config


def _homeless(config: ModelsConfig, tree: yaml.Node, file: str) -> list[str]:
    """Sentences about aliases of models that belong to nobody."""
    sentences = []
    for name in config.aliases:
        model, provider = config.meant(name)
        if provider in config.providers:
            continue
        place = ["aliases", name, "provider" if provider else "model"]
        line = _line_of(tree, place)
        why = f"there is no provider {provider!r}" if provider else f"no provider has {model!r}"
        sentences.append(f"{file}, line {line}: {'.'.join(place)}: {why}.")
    return sentences


def _refuse_repeats(node: yaml.Node, file: str) -> None:
    """YAML's reader would take the last of two equal names without a word."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        for key, value in node.value:
            if names.count(key.value) > 1:
                line = key.start_mark.line + 1
                raise ModelsConfigError([f"{file}, line {line}: {key.value} is given twice."])
            _refuse_repeats(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeats(value, file)


def _sentence(tree: yaml.Node, file: str, problem: Any) -> str:
    place = [str(part) for part in problem["loc"] if part != "[key]"]
    where = f"{'.'.join(place)}: " if place else ""
    why = _unknown(place) if problem["type"] == "extra_forbidden" else said(problem["msg"])
    return f"{file}, line {_line_of(tree, place)}: {where}{why}."


def _unknown(place: list[str]) -> str:
    """What to say of a field that there is not; where it lies tells what it would be of."""
    inside = Alias if place[0] == "aliases" else Provider
    parts: dict[int, type[_Part]] = {1: ModelsConfig, 3: inside, 4: Breaker}
    known = parts[len(place)].model_fields if len(place) in parts else ()
    near = difflib.get_close_matches(place[-1], known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"there is no such field{meant}"


def _line_of(node: yaml.Node, place: list[str]) -> int:
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
