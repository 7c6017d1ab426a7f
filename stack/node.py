"""Node.js, and the packages of a folder that has a package-lock.json."""

import json
import shutil
import subprocess
from pathlib import Path


def find_node(folder: Path) -> str | None:
    """Node.js, where the very versions of a folder's package-lock.json are installed in it."""
    return shutil.which("node") if _installed(folder) else None


def install_packages(folder: Path) -> str | None:
    """Install what a folder's package-lock.json says, unless it is there; or why it cannot be."""
    if _installed(folder):
        return None
    npm = shutil.which("npm")
    if not (npm and shutil.which("node")):
        return "no Node.js found"
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.strip().splitlines() or ["it said nothing"]
    return f"npm failed: {lines[-1]}" if done.returncode else None


def _installed(folder: Path) -> bool:
    wanted, present = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if not (wanted.exists() and present.exists()):
        return False
    packages, there = (json.loads(file.read_text())["packages"] for file in (wanted, present))
    return all(
        there.get(name, {}).get("version") == package.get("version")
        for name, package in packages.items()
        if name and not package.get("optional")
    )
