# SPDX-License-Identifier: GPL-2.0-or-later
"""A projection to hardware, and nothing more: counted instructions and flushes, priced with assumptions."""

from dataclasses import dataclass, replace
from typing import Any

from ..record.rows import average
from .published import IOPS, IOPS_DMABUF

CASE = "read-4k"
LEAST_CPI = 0.25  # an assumption: code of a kernel hardly does better

Counts = dict[str, float]  # by mode


@dataclass(frozen=True)
class Price:
    """What the machine that is projected to takes.  Nothing here was measured: clock and cycles per instruction are
    plain assumptions, and an invalidation costs what the published figures leave for it (left_for_flushes)."""

    ghz: float = 3.0
    cpi: float = 0.5  # cycles per instruction
    invalidation: float | None = None  # cycles, above the instructions that ask for it


def cycles(rate: float, price: Price) -> float:
    """Of one core for one I/O, at so many IOPS."""
    return price.ghz * 1e9 / rate


def iops(instructions: float, flushes: float, price: Price) -> float:
    """Per core that does nothing else."""
    return price.ghz * 1e9 / (instructions * price.cpi + flushes * (price.invalidation or 0))


def left_for_flushes(instructions: Counts, flushes: Counts, price: Price) -> float:
    """Cycles of one: what an I/O takes longer in STRICT than in LAZY, less the instructions that it has more.  Both modes
    map and unmap for each I/O; a flush is what differs."""
    longer = cycles(IOPS["strict"], price) - cycles(IOPS["lazy"], price)
    more = (instructions["strict"] - instructions["lazy"]) * price.cpi
    return (longer - more) / (flushes["strict"] - flushes["lazy"])


def measured(result: dict[str, Any], registration: str) -> tuple[Counts, Counts]:
    """Instructions and flushes per I/O."""
    instructions, flushes = {}, {}
    for mode in result["modes"]:
        rows = [row for row in result["rows"] if (row["mode"], row["case"], row["registration"]) == (mode, CASE, registration)]
        cost = average(rows, "instructions_per_io")
        if cost and rows[0]["mechanisms"]["flush"] is not None:
            instructions[mode], flushes[mode] = cost, rows[0]["mechanisms"]["flush"]
    return instructions, flushes


def table(result: dict[str, Any], price: Price) -> list[str]:
    def millions(value: float | None) -> str:
        return "-" if value is None else f"{value / 1e6:.2f}M"

    text = [f"  {'':<13}{'user':>9}{'published':>11}{'dmabuf':>9}{'published':>11}{'ratio':>8}{'published':>11}"]
    both = {name: measured(result, name) for name in ("user", "dmabuf")}
    for mode in result["modes"]:
        found = {name: iops(instructions[mode], flushes[mode], price) if mode in instructions else None
                 for name, (instructions, flushes) in both.items()}
        user, dmabuf = found["user"], found["dmabuf"]
        text.append(f"  {mode:<13}{millions(user):>9}{millions(IOPS[mode]):>11}{millions(dmabuf):>9}"
                    f"{millions(IOPS_DMABUF):>11}{f'{dmabuf / user:.2f}' if user and dmabuf else '-':>8}"
                    f"{IOPS_DMABUF / IOPS[mode]:11.2f}")
    return text


def meeting(instructions: Counts, flushes: Counts, price: Price) -> list[str]:
    """What each published figure of user memory asks for, where one core does it all."""
    all_of = cycles(IOPS["passthrough"], price) / instructions["passthrough"]
    mapping = ((cycles(IOPS["lazy"], price) - cycles(IOPS["passthrough"], price))
               / (instructions["lazy"] - instructions["passthrough"]))
    wait = left_for_flushes(instructions, flushes, replace(price, cpi=mapping))
    lazy = iops(instructions["lazy"], 0, replace(price, cpi=all_of))
    return ["What the published figures of user memory ask for, if one core did them:",
            f"  5.01M PASSTHROUGH         {all_of:5.2f} cycles for each of {instructions['passthrough']:,.0f} instructions"
            + (", which no kernel reaches: CANNOT BE MET by one core" if all_of < LEAST_CPI else ""),
            f"  1.93M LAZY, beyond that   {mapping:5.2f} cycles for each of the {instructions['lazy'] - instructions['passthrough']:,.0f} "
            f"instructions that map and unmap; at {all_of:.2f} it would be {lazy / 1e6:.2f}M",
            f"  570K  STRICT, beyond that {wait:,.0f} cycles ({wait / price.ghz / 1000:.2f} us) for each flush"]


def text(result: dict[str, Any], price: Price) -> str:
    """What the prices give, what prices the published figures would need, and what no price can give."""
    instructions, flushes = measured(result, "user")
    whole = {"strict", "lazy", "passthrough"} <= instructions.keys() and flushes["strict"] > flushes["lazy"]
    source = "assumed"
    if price.invalidation is None and whole:
        price = replace(price, invalidation=left_for_flushes(instructions, flushes, price))
        source = "what the published STRICT and LAZY differ by"
    if price.invalidation is None:
        return (f"PROJECTION, not a measurement: not made, as run {result['id']} lacks {CASE} of user memory in some mode, "
                "from which an invalidation is priced\n")
    lines = [f"PROJECTION, not a measurement: IOPS per core from the counts of {CASE} in run {result['id']}",
            f"Assumed: {price.ghz:g} GHz, {price.cpi:g} cycles per instruction, {price.invalidation:,.0f} cycles per IOTLB "
            f"invalidation waited for ({source})",
            *table(result, price)]
    if whole:
        lines += ["", *meeting(instructions, flushes, price)]
    return "\n".join([*lines, "",
                      "So no single price of an instruction gives both 5.01M and 1.93M. What is met without having been put in: the order",
                      "of the modes, and dma-bufs alike in all three.",
                      "What this cannot say: the published dma-buf figure is the same in all modes and equal to PASSTHROUGH with user",
                      "memory, so a drive or a core was at its limit there and the projection above it is room, not speed. Cycles per",
                      "instruction are taken as equal for all code: a walk of IOMMU page tables misses caches more than a submission.",
                      "Locks of the flush queue and of the IOVA allocator that several cores share, IOTLB misses of the device, and a",
                      "hypervisor's part of an invalidation are not in it."]) + "\n"
