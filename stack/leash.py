"""Start a program that dies with its parent: `python -I -S leash.py SIGNAL PARENT UID GID PROGRAM`.

Postgres and Valkey do not watch their standard input as our services do, so a supervisor killed
with `kill -9` would leave them behind. Linux can send a signal when the parent dies (prctl(2),
PR_SET_PDEATHSIG); to be exact when the *thread* dies that started it, so start from the main one.
The request is lost when a process changes its user, so the user changes first; it survives `exec`,
so the program keeps this process's id. A `preexec_fn` could do the same, but runs Python between
fork and exec, which may deadlock once the parent has threads.

Elsewhere than on Linux this only changes the user; `stack.home` ends leftovers at the next start.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Change the user, ask for the signal, become the program."""
    signal, parent, uid, gid = (int(word) for word in sys.argv[1:5])
    program = sys.argv[5:]
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:  # it died before we asked
            raise SystemExit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
