# SPDX-License-Identifier: GPL-2.0-or-later
"""What made a run and what it gave: provenance, and run.json (schema in results/README.md)."""

import datetime
import itertools
import json
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from ..build import products, sources
from ..fault import Fault
from ..machine import guest
from ..measure.fio import AGAIN
from ..paths import BUILD, ROOT
from . import mechanisms

SCHEMA = 3  # of run.json; 2 is read, too: upgraded()


# What a whole record has, as far as tables, figures and comparisons read it: a type, a list of one shape, keys with
# theirs. ANY as a key: each that there is. Rows there may be none of.
Shape = Any
ANY, NUMBER, NUMBER_OR_NONE = "*", (int, float), (int, float, NoneType)
NUMBERS = {ANY: NUMBER}
OPTIONAL = {ANY: NUMBER_OR_NONE}
PLACE = {"mode": str, "registration": str}
KERNEL = {"kernel": {"release": str}}  # of a host's there is no more
WHEN = {"date": str, "qemu": str}
CONTEXTS = {"user": NUMBER, "kernel": NUMBER, "interrupt": NUMBER}
COST_ROW = PLACE | {"case": str, "round": int, "instructions_per_io": NUMBER, "functions": NUMBERS, "contexts": CONTEXTS,
                    "mechanisms": dict.fromkeys(mechanisms.TITLES, NUMBER_OR_NONE)}


@dataclass(frozen=True)
class Kind:
    """Of record: what its file is called where its directory is named, and what a whole one has."""

    file: str
    schema: int
    key: str  # that tells the kind
    shape: dict[str, Shape]


KINDS = (
    Kind("run.json", SCHEMA, "speed", {
        "id": str, "accel": [str], "made_of": KERNEL | {"fio": {"version": str}}, "circumstances": WHEN,
        "plan": {"jobs": [str], "registrations": [str], "modes": [str], "rounds": int, "passes": int, "cost_rounds": int,
                 "column": {"name": str, "text": str, "iommu": str}},
        "speed": [PLACE | {"job": str, "round": int, "iops": NUMBER, "latency_ns": {ANY: NUMBERS}}],
        "cost": [PLACE | {"job": str, "round": int, "instructions_per_io": NUMBER}],
        "operations": [PLACE | {"job": str, "bytes_per_command": NUMBER, "command_per_io": NUMBER}
                       | {f"{name}_per_io": NUMBER_OR_NONE for name in ("map", "unmap", "flush")}]}),
    Kind("cost.json", 2, "rows", {
        "id": str, "made_of": KERNEL, "circumstances": WHEN, "modes": [str], "cases": {ANY: {"arguments": str}},
        "rows": [COST_ROW | {"register_ns": NUMBER_OR_NONE, "commands_per_io": NUMBER}], "base_rows": [COST_ROW]}),
    Kind("record.json", 1, "cells", {
        "commit": str, "commit_date": str, "subject": str, "made_of": {"kernel": {"made_from": (dict, NoneType)}},
        "circumstances": WHEN | {"git_dirty": (bool, NoneType)},
        "cells": [PLACE | {"case": str, "rounds": [NUMBER], "functions": NUMBERS, "contexts": CONTEXTS, "mechanisms": OPTIONAL}]}))
OF_BENCH, OF_COST, OF_HISTORY = KINDS


def lacking(value: Any, shape: Shape, name: str = "") -> Iterator[str]:
    """Where a value is not of that shape."""
    if isinstance(shape, dict) and isinstance(value, dict):
        for key in (value if ANY in shape else shape):
            inner, path = shape.get(key, shape.get(ANY)), f"{name}.{key}".lstrip(".")
            yield from lacking(value[key], inner, path) if key in value else (path,)
    elif isinstance(shape, list) and isinstance(value, list) and (value or isinstance(shape[0], dict)):
        for index, each in enumerate(value):
            yield from lacking(each, shape[0], f"{name}[{index}]")
    elif isinstance(shape, (dict, list)) or not isinstance(value, shape):
        yield name


def gaps(found: dict[str, Any], kind: Kind) -> Iterator[str]:
    """Cells that there should be and are not, or not with all rounds."""
    if kind is OF_COST:
        rows = {(row["mode"], row["case"]) for row in found["rows"] if row["registration"] == "dmabuf"}
        yield from (f"rows of {mode} {case} dmabuf" for mode in found["modes"] for case in found["cases"] if (mode, case) not in rows)
    if kind is not OF_BENCH:
        return
    plan = found["plan"]
    for name, rounds in (("speed", plan["rounds"] * plan["passes"]), ("operations", 1), ("cost", plan["cost_rounds"])):
        again = [AGAIN] if name == "speed" and "user" in plan["registrations"] else []
        there = Counter((row["mode"], row["job"], row["registration"]) for row in found[name])
        if there or name == "speed":
            yield from (f"{name} of {' '.join(cell)}" for cell in itertools.product(plan["modes"], plan["jobs"], plan["registrations"] + again)
                        if there[cell] != rounds and not (name == "cost" and there[cell]))  # a host counts once


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


def upgraded(found: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """A record as the harness of today writes it.  Schema 2 of run.json measured each cell once a boot."""
    if kind is OF_BENCH and found.get("schema") == 2 and isinstance(found.get("plan"), dict):
        return found | {"schema": SCHEMA, "plan": found["plan"] | {"passes": 1}}
    return found


def load(path: Path, *kinds: Kind) -> dict[str, Any]:
    """A whole record of one of these kinds (any, if none is named), or a sentence."""
    found = read(path)
    kind = next((kind for kind in kinds or KINDS if isinstance(found, dict) and kind.key in found), None)
    if not kind:
        raise Fault(f"{path} is no record: name a file of results/history, or the directory of a finished bench, cost or regress")
    found = upgraded(found, kind)
    if found.get("schema") != kind.schema:
        raise Fault(f"{path} has schema {found.get('schema')}, and this harness reads {kind.schema}: measure again, or use the harness that wrote it")
    if lacks := list(lacking(found, kind.shape)) or list(gaps(found, kind)):
        more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
        raise Fault(f"{path} is not whole, it lacks {', '.join(lacks[:3])}{more}: remove it, or measure again")
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
    return products.text(guest.PC.qemu, "--version").splitlines()[0]


def measured_by() -> dict[str, str]:
    """What measures: a run that another QEMU or harness began is not gone on with."""
    own = sorted(path for path in (ROOT / "harness").rglob("*") if path.suffix in (".py", ".sh", ".c"))
    return {"qemu": qemu_version(), "harness_sha256": products.digest("".join(sources.sha256(path) for path in own)),
            "verify_sha256": sources.sha256(BUILD / "tests/verify")}


def circumstances() -> dict[str, Any]:
    """Where and when; everything that should not matter to the exact figures."""
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **checkout(),
            "qemu": qemu_version(), "host_cpu": host_cpu(), "host_cpus": os.cpu_count(), "host_kernel": platform.release()}
