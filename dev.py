#!/usr/bin/env python3
"""Baton on this machine: `python3 dev.py up --demo` is all it takes (Python 3.11 or later).

  up       start everything: Valkey, Postgres, toolsvc, runners, gateways (--help shows options)
  test     run all tests; what follows goes to pytest
  check    format, lint, types, import contracts, fast tests
  bench    measure
  redis    look into the running Redis, e.g. `redis XRANGE runs - +`
  lock     make requirements.lock anew from pyproject.toml

This file needs nothing but Python. It makes .venv from requirements.lock, where every package has a
hash, and hands over to `python -m stack` in there. When nothing changed, that takes a tenth of a
second.
"""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
STAMP = VENV / "baton.stamp"
COMMANDS = ("up", "test", "check", "bench", "redis", "lock")

#: Quiet about itself, and never asking: this may run without a terminal.
PIP_MANNERS = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}

#: pip's settings and what uv calls them; uv itself reads no pip.conf.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
}


def main() -> None:
    """Prepare .venv, become the command."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        if sys.argv[1:] in ([], ["help"], ["-h"], ["--help"]):
            print(__doc__)
            raise SystemExit(0)
        print(f"dev.py: there is no command {sys.argv[1]!r}; there are {', '.join(COMMANDS)}.")
        raise SystemExit(2)
    with Path(__file__).open() as ourselves:
        fcntl.flock(ourselves, fcntl.LOCK_EX)  # two first calls at once make one .venv
        if not up_to_date():
            install()
    command, rest = sys.argv[1], sys.argv[2:]
    program = [str(ROOT / "benchmarks" / "run.py")] if command == "bench" else ["-m", "stack"]
    os.environ["PYTHONPATH"] = str(ROOT)  # the .pth serves everybody else
    arguments = rest if command == "bench" else [command, *rest]
    os.execv(PYTHON, [str(PYTHON), *program, *arguments])  # noqa: S606 - that is the point


def up_to_date() -> bool:
    """Whether .venv was made from the present lock and scripts."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == stamp()


def stamp() -> str:
    """What .venv depends on, in short."""
    parts = (LOCK.read_text(), str(scripts()), str(ROOT))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def scripts() -> "dict[str, str]":
    """Commands that pyproject.toml declares."""
    import tomllib  # noqa: PLC0415 - Python 3.10 shall get as far as the sentence at the end

    found: dict[str, str] = tomllib.loads(PROJECT.read_text())["project"]["scripts"]
    return found


def install() -> None:
    """Bring .venv to the state of requirements.lock."""
    if not PYTHON.exists():
        say(f"Making .venv with Python {sys.version.split()[0]}")
        venv.create(VENV, clear=VENV.exists(), with_pip=False, symlinks=True)
    STAMP.unlink(missing_ok=True)
    say("Installing what requirements.lock names; this happens once")
    pip = find_pip()
    uv = find_uv(pip)
    if not (uv and installed_by_uv(uv, pip)):
        install_by_pip(pip)
    write_path_file()
    write_scripts()
    STAMP.write_text(stamp())


def find_pip() -> "list[str] | None":
    """A pip that can install into .venv, though .venv itself may have none."""
    if runs([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    if runs([str(PYTHON), "-m", "ensurepip"]):  # Debian has it in python3-venv
        return [str(PYTHON), "-m", "pip"]
    return None


def find_uv(pip: "list[str] | None") -> "str | None":
    """Find uv, ten times as fast as pip, or get it through pip, by the lock's hash."""
    for place in (VENV / "bin" / "uv", *(Path(p) / "uv" for p in os.get_exec_path())):
        if os.access(place, os.X_OK) and runs([str(place), "--version"]):
            return str(place)
    block = re.search(r"^uv==.*(\n    --hash.*)+", LOCK.read_text(), re.MULTILINE)
    if not (pip and block):
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
        requirement.write(block[0] + "\n")
        requirement.flush()
        got = runs([*pip, "install", *PINNED, "-q", "-r", requirement.name])
    return str(VENV / "bin" / "uv") if got else None


PINNED = ("--no-deps", "--require-hashes", "--only-binary", ":all:")


def installed_by_uv(uv: str, pip: "list[str] | None") -> bool:
    """Install with uv; `False` lets pip have a try."""
    environ = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    if pip:
        environ = pip_settings(pip) | environ
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/") / ".cache")
    if not writable(cache):
        environ.setdefault("UV_CACHE_DIR", str(VENV / "cache"))
    command = [uv, "pip", "sync", "--python", str(PYTHON), "--require-hashes"]
    command += ["--no-build", str(LOCK)]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            if not line.lstrip().startswith(("+ ", "- ", "~ ", "Downloaded ")):  # too much detail
                say(f"  {line.strip()}")
    if process.returncode:
        say("uv could not, for the reason above; pip takes over, which takes a minute")
    return process.returncode == 0


def writable(folder: Path) -> bool:
    """Whether the folder, or the first one above it that exists, can be written."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return existing != Path("/") and os.access(existing, os.W_OK)


def pip_settings(pip: "list[str]") -> "dict[str, str]":
    """Where pip is told to look, in uv's words; several places may stand in one setting."""
    command = [*pip, "config", "list"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, str] = {}
    for name, value in re.findall(r"^\S+?\.([\w-]+)='(.*)'$", shown, re.MULTILINE):
        if name in UV_NAMES:
            places = value.replace("\\n", " ").split()
            found[UV_NAMES[name]] = (" " if name != "find-links" else ",").join(places)
    # Hashes say what is right, so whichever index has it may give it.
    return found | {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def install_by_pip(pip: "list[str] | None") -> None:
    """Install with pip, counting aloud."""
    if pip is None:
        raise SystemExit("Python has neither pip nor ensurepip: apt install python3-pip, or get uv")
    command = [*pip, "install", *PINNED, "-r", str(LOCK)]
    done = 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | PIP_MANNERS
    ) as process:
        for line in process.stdout or ():
            done += line.startswith("Collecting ")
            if line.startswith(("Collecting ", "Installing ")):
                print(f"\r  {done} {line.split(' (')[0].strip()[:60]:<60}", end="", flush=True)
    print()
    if process.returncode:
        raise SystemExit("pip failed, for the reason above")


def write_path_file() -> None:
    """Put the repository on the path of everything that runs in .venv."""
    for folder in VENV.glob("lib/python*/site-packages"):
        (folder / "baton.pth").write_text(f"{ROOT}\n")


def write_scripts() -> None:
    """Write .venv/bin/baton and whatever else [project.scripts] names."""
    for name, target in scripts().items():
        module, function = target.split(":")
        script = VENV / "bin" / name
        # sh starts it, for the kernel takes no long paths nor spaces behind #!.
        script.write_text(
            f"#!/bin/sh\n'''exec' \"{PYTHON}\" \"$0\" \"$@\"\n' '''\nimport sys\n"
            f"from {module} import {function}\nsys.exit({function}())\n"
        )
        script.chmod(0o755)


def runs(command: "list[str]") -> bool:
    """Whether a command ends well; what it prints is of no interest."""
    environ = os.environ | PIP_MANNERS
    return subprocess.run(command, capture_output=True, env=environ, check=False).returncode == 0


def say(text: str) -> None:
    """A line for whoever waits."""
    print(text, flush=True)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever has an older one comes here too
        raise SystemExit(f"Baton needs Python 3.11 or later; this is {sys.version.split()[0]}")
    main()
