"""`models.yaml`: the model servers, and the policy towards each.

The file names no keys, only the variables that hold them. What is wrong in it is told with its line
at the start; docs/models.md explains it.
"""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from shared.protocol.providers import ProviderName
from shared.settings.common import HttpUrl
from shared.settings.yaml_file import Part, YamlFileError, line_of, parse_yaml, written_in

DEFAULT_PATH = Path("src/config/models.yaml")

#: The name of a variable of the environment, which holds a secret.
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
_ModelName = Annotated[str, Field(min_length=1, max_length=200)]


class Breaker(Part):
    """When a server counts as down, and for how long nobody asks it then."""

    failures: int = Field(10, ge=1, le=10_000)
    open_s: float = Field(10, gt=0, le=3600)


class Provider(Part):
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
    #: Whether it is told the trace that a call belongs to, where one is recorded.
    traceparent: bool = True
    #: Whether its models read pictures, and whether they read PDF files.
    images: bool = True
    documents: bool = True
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


class Alias(Part):
    """What a name that agents use stands for."""

    model: _ModelName
    #: Who has it; without, whoever has that model's name.
    provider: ProviderName | None = None


class ModelsConfig(Part):
    """The whole file."""

    providers: dict[ProviderName, Provider] = Field(min_length=1, max_length=100)
    aliases: dict[_ModelName, Alias] = Field({}, max_length=1000)
    #: Names or patterns of models → how many tokens they take at once.
    windows: dict[_ModelName, Annotated[int, Field(ge=256, le=1_000_000_000)]] = Field(
        {}, max_length=1000
    )

    #: The model that summarises what is too long for others; without, each summarises for itself.
    compactor: _ModelName | None = None

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

    def window_of(self, model: str) -> int | None:
        """How many tokens a model takes at once: the first pattern that fits, if any does."""
        fitting = (size for name, size in self.windows.items() if fnmatchcase(model, name))
        return next(fitting, None)

    def meant(self, name: str) -> tuple[str, str | None]:
        """The model that a name means, an alias or its own, and the provider that it belongs to."""
        alias = self.aliases.get(name) or Alias(model=name)
        return alias.model, alias.provider or self.provider_of(alias.model)


def load_models(path: Path = DEFAULT_PATH) -> ModelsConfig:
    """Read the file; without one at the default place, a single provider named `default`.

    Raises:
        YamlFileError: it is not there, cannot be read, or says something wrong.
    """
    try:
        written = written_in(path)
    except FileNotFoundError:
        if path == DEFAULT_PATH:
            return ModelsConfig(providers={"default": Provider()})
        raise YamlFileError([f"there is no file {path}."]) from None
    return _parsed(written, str(path))


def _parsed(written: str, file: str) -> ModelsConfig:
    config, tree = parse_yaml(written, file, ModelsConfig, _part_of)
    if homeless := _homeless(config, tree, file):
        raise YamlFileError(homeless)
    return config


def _part_of(place: list[str]) -> type[Part] | None:
    inside = Alias if place[0] == "aliases" else Provider
    parts: dict[int, type[Part]] = {1: ModelsConfig, 3: inside, 4: Breaker}
    return parts.get(len(place))


def _homeless(config: ModelsConfig, tree: yaml.Node, file: str) -> list[str]:
    """Sentences about models that belong to nobody."""
    sentences = []
    named = [(["aliases", name], name) for name in config.aliases]
    if config.compactor is not None and config.compactor not in config.aliases:
        named.append((["compactor"], config.compactor))
    for where, name in named:
        model, provider = config.meant(name)
        if provider in config.providers:
            continue
        inside = "provider" if provider else "model"
        place = where if name not in config.aliases else [*where, inside]
        line = line_of(tree, place)
        why = f"there is no provider {provider!r}" if provider else f"no provider has {model!r}"
        sentences.append(f"{file}, line {line}: {'.'.join(place)}: {why}.")
    return sentences
