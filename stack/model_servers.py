"""Which model servers runners ask: the file's, those of OpenAI's variables, or the demo model."""

from collections.abc import Mapping
from pathlib import Path

from shared.settings.models import DEFAULT_PATH, ModelsConfig, load_models
from stack.program import ROOT

VARIABLE = "BATON_MODELS_CONFIG"
_OF_THE_DEMO = ROOT / "stack" / "demo_model" / "models.yaml"


def path_of_file(environ: Mapping[str, str], *, demo: bool) -> Path:
    """The file of model servers; the demo's own comes before the one at the default place."""
    if named := environ.get(VARIABLE):
        return ROOT / named
    # As the default stands, for only there a file may be missing.
    return _OF_THE_DEMO if demo else DEFAULT_PATH


def read_file(environ: Mapping[str, str], *, demo: bool) -> ModelsConfig:
    """What the file says. Raises as `load_models` does."""
    path = path_of_file(environ, demo=demo)
    if path == DEFAULT_PATH and (ROOT / path).exists():
        path = ROOT / path
    return load_models(path)


def is_any(environ: Mapping[str, str]) -> bool:
    """Whether anything names a model server. Raises as `load_models` does."""
    if environ.get("OPENAI_API_KEY") or environ.get("OPENAI_BASE_URL"):
        return True
    providers = read_file(environ, demo=False).providers.values()
    return any(one.base_url or one.variables() for one in providers)


def beside_the_demo(environ: Mapping[str, str]) -> list[str]:
    """Providers that are asked where the file says, and not at the demo model."""
    providers = read_file(environ, demo=True).providers
    return [name for name, one in providers.items() if one.base_url]
