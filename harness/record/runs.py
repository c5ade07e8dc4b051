# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a run is while it is measured, and where once it is whole: results/ holds no half of one."""

import datetime
import fcntl
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from .. import locks, progress
from ..paths import BUILD, RESULTS
from . import schema, store

UNFINISHED = BUILD / "unfinished"


def lock(place: Path) -> int | None:
    """A descriptor that holds the directory, or nothing if another process does."""
    place.mkdir(parents=True, exist_ok=True)
    held = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(held), place.stat()):  # or it has just become a result
            return held
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(held)
    return None


@contextmanager
def unfinished(key: str, again: bool = False) -> Iterator[Path]:
    """A directory that is this run's alone; `again`: what an earlier run of that key left is gone on with."""
    for number in itertools.count(1):
        place = UNFINISHED / (key if number == 1 else f"{key}-{number}")
        held = lock(place)
        if held is not None:
            break
    try:
        if again and any(place.iterdir()):
            progress.say(f"going on with what {place} has")
        elif not again:
            for each in place.iterdir():
                shutil.rmtree(each) if each.is_dir() else each.unlink()
        yield place
    finally:
        os.close(held)
        if place.exists() and not any(place.iterdir()):
            place.rmdir()


def finish(place: Path, stem: str, kind: schema.Kind, result: dict[str, Any]) -> Path:
    """results/DATE-STEM, or the next number of that name; the record says which it is."""
    for number in itertools.count(1):
        run = RESULTS / f"{datetime.date.today()}-{stem}{f'-{number}' if number > 1 else ''}"
        try:
            run.mkdir(parents=True)
            break
        except FileExistsError:
            continue
    result["id"] = run.name
    store.write(place / kind.file, result)
    place.rename(run)  # onto the empty one
    return run


def alone(name: str) -> AbstractContextManager[None]:
    """What leaves its output in one place of build/ is done once at a time."""
    return locks.held(BUILD / f"{name}.lock", f"{name}: waiting for another one in this checkout to end")
