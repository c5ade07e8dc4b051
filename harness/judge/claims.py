# SPDX-License-Identifier: GPL-2.0-or-later
"""What a record must show for a registered dma-buf to be what it claims to be."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..fault import Fault
from ..record.rows import select

OPERATIONS = ("map", "unmap", "flush")
NOTHING = 0.01  # operations per I/O: what an unrelated timer may add over a run
COST_BAND = 0.01
# Of a large block, where there is little else to do, how many completions an interrupt finds is a larger part of the
# cost, and that depends on when QEMU's null disk is done: up to 1.5 % between modes in three rounds.
LARGE_COST_BAND = 0.05
PAGE = 4096


@dataclass(frozen=True)
class Claim:
    text: str
    holds: bool


def counted(rows: Iterable[dict[str, Any]]) -> dict[str, list[float]]:
    """Operations per I/O; not every kernel and IOMMU model has a tracepoint for each."""
    found = {name: [row[f"{name}_per_io"] for row in rows] for name in OPERATIONS}
    found = {name: values for name, values in found.items() if None not in values}
    if not found:
        raise Fault("no IOMMU operation was counted: the kernel has no such tracepoints")
    return found


def words(names: Iterable[str], conjunction: str) -> str:
    *first, last = names
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def uncounted(names: Iterable[str]) -> str:
    return "".join(f"; {name} is not counted on this IOMMU" for name in OPERATIONS if name not in names)


def no_operations(record: dict[str, Any]) -> Claim:
    found = counted(select(record["operations"], registration="dmabuf"))
    worst = max(map(max, found.values()))
    return Claim(f"dmabuf: no IOMMU {words(found, 'or')} per I/O in any mode (most: {worst:.4f}{uncounted(found)})", worst < NOTHING)


def strict_operations(record: dict[str, Any], registration: str) -> Claim:
    found = counted(select(record["operations"], registration=registration, mode="strict"))
    least = min(map(min, found.values()))
    return Claim(f"{registration}: at least one IOMMU {words(found, 'and')} per I/O in strict (least: {least:.3f}{uncounted(found)})",
                 least > 1 - NOTHING)


def equal_cost(record: dict[str, Any], job: str) -> Claim:
    costs = {mode: median(row["instructions_per_io"]
                          for row in select(record["cost"], registration="dmabuf", mode=mode, job=job))
             for mode in record["plan"]["modes"]}
    spread = max(costs.values()) / min(costs.values()) - 1
    block = max(row["command_per_io"] * row["bytes_per_command"] for row in select(record["operations"], job=job))
    band = COST_BAND if round(block) <= PAGE else LARGE_COST_BAND
    return Claim(f"dmabuf: {job} costs the same in every mode within {band:.0%} (spread: {spread:.2%})", spread <= band)


def claims(record: dict[str, Any]) -> list[Claim]:
    plan = record["plan"]
    if not record["operations"]:  # a sweep: speed alone
        return []
    found = [strict_operations(record, name) for name in ("none", "user")
             if name in plan["registrations"] and "strict" in plan["modes"]]
    if "dmabuf" in plan["registrations"]:
        found += [no_operations(record)] + [equal_cost(record, job) for job in plan["jobs"]
                                     if len(plan["modes"]) > 1 and record["cost"]]
    return found
