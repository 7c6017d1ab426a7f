"""Whom runners ask, as `up` finds out before it starts anything."""

from pathlib import Path

import pytest

from shared.settings.yaml_file import YamlFileError
from stack import model_servers


@pytest.mark.parametrize(
    ("file", "any_"),
    [
        ("providers: {a: {base_url: 'http://a'}}", True),
        ("providers: {a: {key_env: A_KEY}}", True),
        ("providers: {a: {retries: 1}}", False),
    ],
)
def test_a_file_counts_where_it_names_a_server_or_a_key(
    file: str, any_: bool, tmp_path: Path
) -> None:
    (path := tmp_path / "models.yaml").write_text(file)
    assert model_servers.is_any({"BATON_MODELS_CONFIG": str(path)}) is any_


def test_the_variables_of_openai_count_and_nothing_does_not() -> None:
    assert model_servers.is_any({"OPENAI_API_KEY": "k"})
    assert model_servers.is_any({"OPENAI_BASE_URL": "http://a"})
    assert not model_servers.is_any({})


def test_the_demo_leaves_the_file_at_the_default_place_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_servers, "ROOT", tmp_path)
    at = tmp_path / "src" / "config" / "models.yaml"
    at.parent.mkdir(parents=True)
    at.write_text("providers: {local: {base_url: 'http://a'}}")
    assert model_servers.is_any({})
    assert model_servers.beside_the_demo({}) == []
    assert model_servers.beside_the_demo({"BATON_MODELS_CONFIG": str(at)}) == ["local"]


def test_a_file_that_is_not_there_is_told_of() -> None:
    with pytest.raises(YamlFileError, match="there is no file"):
        model_servers.is_any({"BATON_MODELS_CONFIG": "/nowhere/models.yaml"})
