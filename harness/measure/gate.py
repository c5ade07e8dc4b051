# SPDX-License-Identifier: GPL-2.0-or-later
"""The few cells that a commit's record has, and that a gate measures again."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import progress
from ..build import sources
from ..fault import Fault
from ..paths import BUILD
from ..record import provenance, schema
from . import attribution, cost

CELLS = (("read-4k", "user"), ("read-4k", "dmabuf"), ("write-4k", "dmabuf"), ("read-1m", "dmabuf"))
ROUNDS = 2
LEAST = 0.5  # instructions per I/O of a function that is recorded by name
PLACE = BUILD / "regress"

Row = dict[str, Any]


def name_of(cell: Row) -> str:
    return f"{cell['mode']} {cell['case']} {cell['registration']}"


def squeeze(rows: list[Row]) -> list[Row]:
    """The rounds of each cell as one; functions and counts of the first."""
    found: dict[str, Row] = {}
    for row in rows:
        cell = found.setdefault(name_of(row), {
            "mode": row["mode"], "case": row["case"], "registration": row["registration"], "rounds": [],
            "contexts": row["contexts"], "mechanisms": row["mechanisms"], "bytes_per_command": row["bytes_per_command"],
            "functions": trim(row["functions"])})
        cell["rounds"].append(row["instructions_per_io"])
    return list(found.values())


def trim(functions: dict[str, float]) -> dict[str, float]:
    kept = {name: round(share, 3) for name, share in functions.items() if share >= LEAST and name != attribution.REST}
    return kept | {attribution.REST: round(sum(functions.values()) - sum(kept.values()), 3)}


def measure(modes: Iterable[str], kernel: Path) -> list[Row]:
    """A boot for each mode; every path verified before it is measured."""
    todo = [(cost.CASES[case], registration, number + 1) for number in range(ROUNDS) for case, registration in CELLS]
    rows: list[Row] = []
    for mode in modes:
        start = time.monotonic()
        rows += cost.boot(kernel, mode, todo, PLACE / "boots" / mode)
        progress.say(f"regress: {mode}: {len(todo)} cells in {progress.clock(time.monotonic() - start)}")
    return squeeze(rows)


def commit() -> str:
    """Of this checkout, which a record names; a tree that is none has none."""
    return provenance.git("rev-parse", "HEAD")


def take(modes: Iterable[str], kernel: Path, of: str = "HEAD") -> Row:
    """A record of a commit, whose kernel that is."""
    return {"schema": schema.OF_HISTORY.schema, "commit": provenance.git("rev-parse", of),
            "commit_date": provenance.git("show", "-s", "--format=%cI", of), "subject": provenance.git("show", "-s", "--format=%s", of),
            "made_of": {"kernel": provenance.made_of_kernel(kernel), "iocost_sha256": sources.sha256(BUILD / "iocost")},
            "circumstances": provenance.circumstances(), "cells": measure(modes, kernel)}


def recordable(kernel: Path | None) -> None:
    """A record names what it measures: a commit, and what the kernel was made from."""
    if changed := provenance.git("status", "--porcelain", "--", "kernel", "harness/guest", "harness/qemu", "harness/measure/cost.py"):
        raise Fault(f"a record names the commit that it measures: commit {changed.split()[-1]} first")
    if kernel and not provenance.made_of_kernel(kernel)["made_from"]:
        raise Fault(f"{kernel} does not say what it was made from: leave KERNEL= out")
