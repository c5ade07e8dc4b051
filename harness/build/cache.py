# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cache holds, and what of it nobody has used for long.  How long each verb took here."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..paths import BUILD, CACHE
from . import products

PLACES = ("kernel", "tree", "obj", "src", "dl", "scratch")
DAY = 24 * 3600
MARK = ".of"  # beside a tree: what it is a copy of


def scratch(name: str) -> "tempfile.TemporaryDirectory[str]":
    """A directory that goes with its user; what one that was killed has left is found by clean()."""
    (CACHE / "scratch").mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=f"{name}-", dir=CACHE / "scratch", ignore_cleanup_errors=True)


def size(path: Path) -> int:
    """On its own file system; what others remove meanwhile does not count."""
    said = subprocess.run(["du", "-sxB1", str(path)], capture_output=True, text=True).stdout
    return int(said.split()[0]) if said else 0


def held() -> set[Path]:
    """What build/ of this checkout points to."""
    return {path.resolve() for path in BUILD.glob("*") if path.is_symlink()} if BUILD.exists() else set()


def things() -> Iterator[Path]:
    for place in PLACES:
        yield from sorted(path for path in (CACHE / place).glob("*") if path.suffix != MARK)


def stale(days: float) -> list[Path]:
    """Not used for so long, or what a build that was killed has left."""
    now, keep = time.time(), held()
    return [path for path in things() if not any(path == each or path in each.parents for each in keep)
            and (path.name.startswith(".") or now - path.lstat().st_mtime > days * DAY)]


def mounted(path: Path) -> bool:
    """Something else begins in there: a root that a test runs in."""
    places = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return any(place == str(path) or place.startswith(f"{path}/") for place in places)


def remove(path: Path) -> int:
    if mounted(path):
        print(f"left {path}: something is mounted in it")
        return 0
    freed = size(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.with_name(path.name + MARK).unlink(missing_ok=True)
    return freed


def clean(days: float, everything: bool) -> None:
    """No build is under way while we do; a guest that runs has its kernel in memory."""
    with products.lock("kernel"), products.lock("engine"):
        doomed = sorted(path for path in CACHE.iterdir() if path.suffix != ".lock") if everything else stale(days)
        freed = 0
        for path in doomed:
            taken = remove(path)
            freed += taken
            if not path.exists():
                print(f"removed {path.relative_to(CACHE)}, {taken >> 20} MiB")
    print(f"{freed >> 20} MiB freed; {CACHE} holds {size(CACHE) >> 20} MiB"
          + ("" if everything else f"; what was used within {days:g} days is kept (DAYS=), as is what build/ points to; ALL=1 removes all"))


def times() -> dict[str, float]:
    """Seconds of each verb's last good run on this machine."""
    try:
        found: dict[str, float] = json.loads((CACHE / "times").read_text())
        return {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def took(verb: str, seconds: float) -> None:
    if seconds > 1 and CACHE.exists():
        fresh = CACHE / f".times-{time.monotonic_ns()}"
        fresh.write_text(json.dumps(times() | {verb: round(seconds, 1)}) + "\n")
        fresh.replace(CACHE / "times")
