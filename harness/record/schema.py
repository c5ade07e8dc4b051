# SPDX-License-Identifier: GPL-2.0-or-later
"""What a whole record has, of each kind (results/README.md says what it means)."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Any

from . import mechanisms

REGISTRATIONS = ("none", "user", "dmabuf")
ANY_MEMORY = "4k"  # whatever the kernel gave: a cell of it repeats in no other boot
AGAIN = "user-again"  # `user` once more, as if it were another: what differs is noise

SCHEMA = 4  # of run.json; 2 and 3 are read, too: upgraded()


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
        "plan": {"jobs": [str], "memory": {ANY: str}, "registrations": [str], "modes": [str], "rounds": int, "passes": int, "cost_rounds": int,
                 "column": {"name": str, "text": str, "iommu": str}},
        "speed": [PLACE | {"job": str, "memory": str, "round": int, "iops": NUMBER, "latency_ns": {ANY: NUMBERS}}],
        "cost": [PLACE | {"job": str, "memory": str, "round": int, "instructions_per_io": NUMBER}],
        "operations": [PLACE | {"job": str, "memory": str, "bytes_per_command": NUMBER, "command_per_io": NUMBER}
                       | {f"{name}_per_io": NUMBER_OR_NONE for name in ("map", "unmap", "flush")}]}),
    Kind("cost.json", 3, "rows", {
        "id": str, "made_of": KERNEL, "circumstances": WHEN, "modes": [str], "cases": {ANY: {"arguments": str, "memory": str}},
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
    yield from (f"plan.memory.{job}" for job in plan["jobs"] if job not in plan["memory"])
    for name, rounds in (("speed", plan["rounds"] * plan["passes"]), ("operations", 1), ("cost", plan["cost_rounds"])):
        again = [AGAIN] if name == "speed" and "user" in plan["registrations"] else []
        there = Counter((row["mode"], row["job"], row["registration"]) for row in found[name])
        if there or name == "speed":
            yield from (f"{name} of {' '.join(cell)}" for cell in itertools.product(plan["modes"], plan["jobs"], plan["registrations"] + again)
                        if there[cell] != rounds and not (name == "cost" and there[cell]))  # a host counts once


def upgraded(found: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """A record as the harness of today writes it.  Schema 2 of run.json measured each cell once a boot; before 4 memory was what the kernel gave."""
    plan = found.get("plan")
    if kind is not OF_BENCH or found.get("schema") not in (2, 3) or not isinstance(plan, dict) or not isinstance(plan.get("jobs"), list):
        return found
    rows = {name: [{"memory": ANY_MEMORY} | row if isinstance(row, dict) else row for row in found[name]] for name in ("speed", "cost", "operations")
            if isinstance(found.get(name), list)}
    return found | rows | {"schema": SCHEMA, "plan": {"passes": 1, "memory": {str(job): ANY_MEMORY for job in plan["jobs"]}} | plan}
