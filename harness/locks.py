# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks between processes."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import progress


@contextmanager
def held(file: Path, waiting: str) -> Iterator[None]:
    """Holds the lock `file`, which is made if need be. Says `waiting` if somebody else has it, and waits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
