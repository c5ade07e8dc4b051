# SPDX-License-Identifier: GPL-2.0-or-later
"""A projection to hardware, and nothing more: counted instructions and flushes, priced with assumptions."""

from dataclasses import dataclass
from typing import Any

from .cost import average

# Published for such a feature, 4 KiB reads of one Optane drive, udmabuf, patched t/io_uring (Anuj Gupta, linux-nvme,
# November 2025): IOPS with user memory; 5.01M with a registered dma-buf in each mode.  Clock and cores were not said.
PUBLISHED = {"strict": 0.57e6, "lazy": 1.93e6, "passthrough": 5.01e6}
PUBLISHED_DMABUF = 5.01e6
CASE = "read-4k"
LEAST_CPI = 0.25  # no code of a kernel does better


@dataclass(frozen=True)
class Price:
    """What the machine that is projected to takes.  A synchronous VT-d invalidation, submitted and waited for, was
    measured at about 2,100 cycles (Malka, Amit, Ben-Yehuda, Tsafrir: rIOMMU, ASPLOS 2015, table 1)."""

    ghz: float = 3.0
    cpi: float = 0.5  # cycles per instruction
    invalidation: float = 2100  # cycles, above the instructions that ask for it


def iops(instructions: float, flushes: float, price: Price) -> float:
    """Per core that does nothing else."""
    return price.ghz * 1e9 / (instructions * price.cpi + flushes * price.invalidation)


def fitted(instructions: dict[str, float], flushes: dict[str, float], price: Price) -> Price:
    """The prices with which PASSTHROUGH and STRICT of user memory are as published, if one core did them."""
    cpi = price.ghz * 1e9 / PUBLISHED["passthrough"] / instructions["passthrough"]
    wait = (price.ghz * 1e9 / PUBLISHED["strict"] - instructions["strict"] * cpi) / flushes["strict"]
    return Price(price.ghz, cpi, wait)


def measured(result: dict[str, Any], registration: str) -> tuple[dict[str, float], dict[str, float]]:
    """Instructions and flushes per I/O by mode."""
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
        text.append(f"  {mode:<13}{millions(user):>9}{millions(PUBLISHED[mode]):>11}{millions(dmabuf):>9}"
                    f"{millions(PUBLISHED_DMABUF):>11}{f'{dmabuf / user:.2f}' if user and dmabuf else '-':>8}"
                    f"{PUBLISHED_DMABUF / PUBLISHED[mode]:11.2f}")
    return text


def render(result: dict[str, Any], price: Price) -> str:
    """What the prices give, what prices the published figures would need, and what no price can give."""
    instructions, flushes = measured(result, "user")
    text = [f"PROJECTION, not a measurement: IOPS per core from the counts of {CASE} in run {result['id']}, at {price.ghz:g} GHz,",
            f"{price.cpi:g} cycles per instruction and {price.invalidation:,.0f} cycles per IOTLB invalidation waited for",
            *table(result, price)]
    if {"strict", "lazy", "passthrough"} <= instructions.keys() and flushes["strict"]:
        fit = fitted(instructions, flushes, price)
        lazy = iops(instructions["lazy"], flushes["lazy"], fit)
        text += ["",
                 f"User memory in PASSTHROUGH and STRICT is as published with {fit.cpi:.2f} cycles per instruction and "
                 f"{fit.invalidation:,.0f} cycles",
                 f"({fit.invalidation / fit.ghz / 1000:.2f} us) per invalidation, if one core did them"
                 + (", which none can: several did." if fit.cpi < LEAST_CPI else "."),
                 "Held against what was not fitted: "
                 f"LAZY would be {lazy / 1e6:.2f}M (published {PUBLISHED['lazy'] / 1e6:.2f}M).",
                 *table(result, fit)]
    return "\n".join([*text, "",
                      "What this cannot say: the published dma-buf figure is the same in all modes and equal to PASSTHROUGH with user",
                      "memory, so a drive or a core was at its limit there and the projection above it is room, not speed. Cycles per",
                      "instruction are taken as equal for all code: a walk of IOMMU page tables misses caches more than a submission,",
                      "which is where LAZY is worse than projected. Locks of the flush queue and of the IOVA allocator that several",
                      "cores share, IOTLB misses of the device, and a hypervisor's part of an invalidation are not in it."]) + "\n"
