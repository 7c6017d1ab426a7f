"""On-CPU time and memory of processes, from /proc (Linux).

On-CPU time counts only what a process itself computes, so it tells much the same on a busy machine.
It is the sum over all threads of a process and of everything that it has started.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(root: int) -> float:
    """Seconds on the CPU of a process and its descendants, those that have ended included."""
    return _reaped_s(root) + sum(_alive_s(pid) for pid in _family(root))


def rss_kb(pid: int) -> int:
    """Memory of one process that is in RAM, in KB."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _family(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found


def _parents() -> Iterable[tuple[int, int]]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            yield int(folder.name), int(fields[1])


def _alive_s(pid: int) -> float:
    """Nanoseconds on the CPU are the first number of a thread's schedstat."""
    total = 0
    for thread in _listed(_PROC / str(pid) / "task"):
        try:
            total += int((thread / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            continue  # it has just ended
    return total / 1e9


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _reaped_s(pid: int) -> float:
    """What children that have ended took: Postgres' workers come and go."""
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / _TICKS_PER_S if fields else 0.0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the third on; the second may hold anything."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
