"""Ties a process's life to its parent's: ``python guard.py PARENT_PID COMMAND…`` asks the kernel for SIGKILL when the
parent dies, then becomes COMMAND.

A script of its own instead of ``preexec_fn``, which may deadlock in a parent with threads (a worker has a heartbeat
thread). The request survives ``execv``. Where the kernel cannot do this (not Linux), a stale process is ended by the
next supervisor, which finds its pid in the lock file (``training.child``).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
ORPHANED = 79


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the request was in place
        sys.exit(ORPHANED)
    os.execv(command[0], command)  # noqa: S606 - the command is our own, never text of a user


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
