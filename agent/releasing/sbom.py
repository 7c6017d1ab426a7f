"""What a release consists of, as CycloneDX 1.6: every package of the lock, with its hashes."""

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def sbom(lock: str, *, name: str, version: str) -> dict[str, Any]:
    """The bill of materials of a lock file's text."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": name, "version": version}},
        "components": [_component(*one) for one in packages(lock)],
    }


def packages(lock: str) -> list[tuple[str, str, list[str]]]:
    """Name, version and SHA-256 of the files of every package that a lock pins."""
    found = list(_PINNED.finditer(lock))
    ends = [one.start() for one in found[1:]] + [len(lock)]
    return [
        (one[1].lower(), one[2], _HASH.findall(lock[one.end() : end]))
        for one, end in zip(found, ends, strict=True)
    ]


def unlicensed(bom: Mapping[str, Any]) -> list[str]:
    """Components that are installed here and do not say under which licence."""
    return [one["name"] for one in bom["components"] if one.get("licenses") == []]


def _component(name: str, version: str, hashes: list[str]) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        # One file of several is installed; which one depends on the machine.
        "properties": [{"name": "baton:sha256", "value": one} for one in hashes],
    }
    licences = _licences(name)
    return component if licences is None else component | {"licenses": licences}


def _licences(name: str) -> list[dict[str, Any]] | None:
    """As the package says it; `None` where it is for other machines than this one."""
    try:
        about = metadata(name).json
    except PackageNotFoundError:
        return None
    if expression := about.get("license_expression"):
        return [{"expression": expression}]
    classified = [
        one.rpartition(" :: ")[2]
        for one in about.get("classifier", [])
        if one.startswith("License :: ")
    ]
    named = classified or [
        line for line in str(about.get("license") or "").splitlines()[:1] if line
    ]
    return [{"license": {"name": one}} for one in named]
