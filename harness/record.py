# SPDX-License-Identifier: GPL-2.0-or-later
"""What made a run and what it gave: provenance, and run.json (schema in results/README.md)."""

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import build, guest, sources
from .fault import Fault
from .paths import BUILD, ROOT

SCHEMA = 2  # of run.json


@dataclass(frozen=True)
class Kind:
    """Of record: what its file is called where its directory is named, and what a whole one has."""

    file: str
    schema: int
    keys: tuple[str, ...]  # the first tells the kind


KINDS = (Kind("run.json", SCHEMA, ("speed", "id", "plan", "made_of", "circumstances", "cost", "operations")),
         Kind("cost.json", 2, ("rows", "id", "made_of", "circumstances", "modes", "cases", "base_rows")),
         Kind("record.json", 1, ("cells", "commit", "commit_date", "subject", "made_of", "circumstances")))
OF_BENCH, OF_COST, OF_HISTORY = KINDS


def write(path: Path, value: Any) -> None:
    """In one step, so that a file that exists is whole."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value, indent=1) + "\n")
    fresh.replace(path)


def read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Fault(f"{path} cannot be read as JSON: {getattr(error, 'strerror', '') or error}") from error


def load(path: Path, *kinds: Kind) -> dict[str, Any]:
    """A whole record of one of these kinds (any, if none is named), or a sentence."""
    found = read(path)
    kind = next((kind for kind in kinds or KINDS if isinstance(found, dict) and kind.keys[0] in found), None)
    if not kind:
        raise Fault(f"{path} is no record: name a file of results/history, or the directory of a finished bench, cost or regress")
    if found.get("schema") != kind.schema:
        raise Fault(f"{path} has schema {found.get('schema')}, and this harness reads {kind.schema}: measure again, or use the harness that wrote it")
    lacks = [key for key in kind.keys if key not in found]
    if not lacks and "kernel" not in found["made_of"]:
        lacks = ["made_of.kernel"]
    for name in ("speed", "cost", "operations", "rows", "base_rows", "cells"):
        rows = found.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) and {"mode", "registration"} <= row.keys() for row in rows):
            lacks.append(f"mode and registration in {name}")
    if lacks:
        raise Fault(f"{path} is not whole, it lacks {' '.join(lacks)}: remove it, or measure again")
    whole: dict[str, Any] = found
    return whole


def find(name: str, *kinds: Kind) -> Path:
    """The record named, itself or by the directory that it is in."""
    path = Path(name)
    found = next((path / kind.file for kind in kinds or KINDS if (path / kind.file).exists()), path)
    if not found.is_file():
        raise Fault(f"{name} is no record: name a file of results/history, or the directory of a finished bench, cost or regress")
    return found


def others(paths: Iterable[Path], *kinds: Kind) -> dict[Path, dict[str, Any]]:
    """What is only shown beside something else: one that is broken is said and left out."""
    found = {}
    for path in paths:
        try:
            found[path] = load(path, *kinds)
        except Fault as fault:
            print(f"harness: left out: {fault}", file=sys.stderr)
    return found


def git(*arguments: str, fails: int = 0) -> str:
    """What git says.  One that cannot be asked has not said that nothing changed; `fails` is a status that is an answer."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode not in (0, fails):
        raise Fault(f"git cannot tell what commit this is, which a record names: {' '.join(done.stderr.split()) or 'it says nothing'}")
    return done.stdout.strip()


def commit_of(name: str) -> str:
    """The commit that a name stands for; the name itself if it is none."""
    return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", fails=1) or name


def checkout() -> dict[str, Any]:
    """Of a tree that is no checkout there is no commit to name."""
    if not (ROOT / ".git").exists():
        return {"git_commit": None, "git_dirty": None}
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(git("status", "--porcelain"))}


def host_cpu() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return match[1] if match else platform.processor()


def kernel_release(bzimage: Path) -> str:
    """The version string that the boot protocol points to."""
    with bzimage.open("rb") as file:
        head = file.read(1 << 16)
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    if head[0x202:0x206] != b"HdrS" or b"\0" not in head[start:]:
        raise Fault(f"{bzimage} is no bzImage: name one with KERNEL= or BASE=, or leave it out for ours")
    return head[start:head.index(b"\0", start)].decode(errors="replace")


def made_of_kernel(kernel: Path) -> dict[str, Any]:
    made_from = kernel.resolve().parent / "made_from.json"  # beside a kernel that we built
    return {"release": kernel_release(kernel), "bzimage_sha256": sources.sha256(kernel),
            "version": sources.base()["version"], "made_from": read(made_from) if made_from.exists() else None}


def made_of(kernel: Path) -> dict[str, Any]:
    """What decides the numbers: two runs with equal values here may be compared."""
    return {
        "kernel": made_of_kernel(kernel),
        "engine_sha256": sources.sha256(BUILD / "dmabuf.so"),
        "fio": {"version": sources.FIO_VERSION, "sha256": sources.sha256(BUILD / "fio")},
        "jobs_sha256": {path.name: sources.sha256(path) for path in sorted((ROOT / "jobs").iterdir())},
        "meter_sha256": sources.sha256(BUILD / "meter"),
    }


def qemu_version() -> str:
    return build.text(guest.PC.qemu, "--version").splitlines()[0]


def measured_by() -> dict[str, str]:
    """What measures: a run that another QEMU or harness began is not gone on with."""
    own = sorted(path for path in Path(__file__).parent.rglob("*") if path.suffix in (".py", ".sh", ".c"))
    return {"qemu": qemu_version(), "harness_sha256": build.digest("".join(sources.sha256(path) for path in own)),
            "verify_sha256": sources.sha256(BUILD / "tests/verify")}


def circumstances() -> dict[str, Any]:
    """Where and when; everything that should not matter to the exact figures."""
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **checkout(),
            "qemu": qemu_version(), "host_cpu": host_cpu(), "host_cpus": os.cpu_count(), "host_kernel": platform.release()}
