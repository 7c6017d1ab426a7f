"""`models.yaml`: what it may say, and how a mistake in it is told."""

import re
from pathlib import Path

import pytest

from shared.settings.models import (
    DEFAULT_PATH,
    Provider,
    load_models,
)
from shared.settings.yaml_file import YamlFileError

GOOD = """
providers:
  local:
    base_url: http://127.0.0.1:1234/v1
    models: ["llama*", qwen-3]
    restart: true
    concurrency: 2
  openai:
    key_env: OPENAI_API_KEY
    retries: 3
    retry_for_s: 30
    silence_s: 90.5
    breaker: {failures: 4, open_s: 20}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.yaml"


def test_a_good_file_says_which_provider_has_which_model(file: Path) -> None:
    file.write_text(GOOD)
    config = load_models(file)
    asked = ("llama-4", "qwen-3", "qwen-31", "gpt-5")
    assert [config.provider_of(name) for name in asked] == ["local", "local", "openai", "openai"]
    assert (config.providers["local"].restart, config.providers["local"].concurrency) == (True, 2)
    assert config.providers["openai"].breaker.failures == 4


def test_a_model_may_belong_to_nobody(file: Path) -> None:
    file.write_text("providers: {local: {models: [llama]}}")
    assert load_models(file).provider_of("gpt-5") is None


def test_without_a_file_there_is_one_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_models(DEFAULT_PATH)
    assert (config.provider_of("anything"), config.providers) == (
        "default",
        {"default": Provider()},
    )


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "is empty"),
        ("providers: {}", "line 1: providers: "),
        ("provider:\n  a: {}", "line 1: provider: "),
        ("- a\n", "line 1: "),
        ("providers:\n  a:\n    retires: 3\n", "no such field; did you mean retries?"),
        ("providers:\n  a:\n    breaker: {fail: 1}\n", "no such field; did you mean failures?"),
        ("providers:\n  a:\n    xyz: 3\n", "line 3: providers.a.xyz: there is no such field."),
        ("providers:\n  a:\n    retries: -1\n", "line 3: providers.a.retries: "),
        ("providers:\n  a:\n    retries: '3'\n", "line 3: providers.a.retries: "),
        ("providers:\n  a:\n    retry_for_s: .nan\n", "line 3: providers.a.retry_for_s: "),
        ("providers:\n  a:\n    restart: 1\n", "line 3: providers.a.restart: "),
        ("providers:\n  a:\n    concurrency: 0\n", "line 3: providers.a.concurrency: "),
        ("providers:\n  a:\n    base_url: localhost\n", "must be a URL"),
        ("providers:\n  a:\n    key_env: sk-123456\n", "line 3: providers.a.key_env: "),
        ("providers:\n  a:\n    models: gpt\n", "line 3: providers.a.models: "),
        ("providers:\n  a:\n    models: [b, 3]\n", "line 3: providers.a.models.1: "),
        ("providers:\n  a:\n    breaker: {open_s: 0}\n", "line 3: providers.a.breaker.open_s: "),
        ("providers:\n  a:\n", "line 2: providers.a: "),
        ("providers:\n  a b: {}\n", "line 2: providers.a b: "),
        ("providers:\n  a: {}\n  b: {}\n", "a and b are"),
        ("providers:\n  a: {}\n  a: {}\n", "line 2: a is given twice"),
        ("providers:\n  a:\n    api: chats\n", "line 3: providers.a.api: "),
        ("providers:\n  a:\n    headers: {x-key: 'sk-1 2'}\n", "line 3: providers.a.headers"),
        ("providers:\n  a:\n    headers: {'x key': KEY}\n", "line 3: providers.a.headers"),
        ("providers:\n  a:\n    include_usage: 'no'\n", "line 3: providers.a.include_usage: "),
        (
            "providers: {a: {}}\nwindows:\n  x: 255\n",
            "line 3: windows.x: this must be greater than or equal to 256.",
        ),
        (
            "providers: {a: {}}\nwindows:\n  x: many\n",
            "line 3: windows.x: this must be a valid integer.",
        ),
        (
            "providers: {a: {}}\naliases:\n  x: {model: y, provider: b}\n",
            "line 3: aliases.x.provider: there is no provider 'b'.",
        ),
        (
            "providers: {a: {models: [z]}}\naliases:\n  x: {model: y}\n",
            "line 3: aliases.x.model: no provider has 'y'.",
        ),
        (
            "providers: {a: {}}\naliases:\n  x:\n    modle: y\n",
            "line 4: aliases.x.modle: there is no such field; did you mean model?",
        ),
        ("providers: {a: {}}\naliases: {x: y}\n", "line 2: aliases.x: "),
        (
            "providers: {a: {models: [z]}}\ncompactor: y\n",
            "line 2: compactor: no provider has 'y'.",
        ),
        ("providers: {a: {}}\ncompactor: ''\n", "line 2: compactor: "),
        ("providers: {a: {}}\ncompactor: [y]\n", "line 2: compactor: "),
        ("providers:\n  a: {restart: true\n", "line "),
        ("providers: !!python/object:os.system {}\n", "line 1: "),
        ("providers: &a\n  x: *a\n", "cannot be read as YAML"),
        ("\tproviders: {}", "line 1: "),
    ],
)
def test_a_mistake_is_told_with_its_line(file: Path, written: str, told: str) -> None:
    file.write_text(written)
    with pytest.raises(YamlFileError) as refused:
        load_models(file)
    assert str(file) in str(refused.value)
    assert told in str(refused.value)
    assert not re.search("pydantic|Value error|Input should|Extra inputs", str(refused.value))


def test_a_file_that_is_named_must_be_there(file: Path) -> None:
    with pytest.raises(YamlFileError, match="there is no file"):
        load_models(file)


def test_what_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(YamlFileError, match="cannot be read"):
        load_models(file)


def test_windows_belong_to_the_first_pattern_that_fits(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text('providers: {a: {}}\nwindows: {"small-*": 1000, small-er: 500, big: 9000}\n')
    config = load_models(file)
    assert [config.window_of(name) for name in ("small-er", "big", "bigger")] == [1000, 9000, None]
