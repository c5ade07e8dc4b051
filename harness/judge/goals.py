# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cost of an I/O is to be at most, and what it is."""

from dataclasses import dataclass
from typing import Any

from ..measure.cost import BUFFER
from ..record.rows import average, select

Row = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    text: str
    low: float
    high: float
    value: float | None  # None: not measured

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "met" if self.low <= self.value <= self.high else "NOT MET"

    def __str__(self) -> str:
        bound = f"{self.low:g}..{self.high:g}" if self.low else f"<= {self.high:g}"
        value = "-" if self.value is None else f"{self.value:.3f}"
        return f"  {self.text:<62} {value:>7}  {bound:<12} {self.verdict}"


def goals(result: Row) -> list[Goal]:
    def cost(mode: str, case: str, registration: str, value: str = "instructions_per_io") -> float | None:
        return average(result["rows"], value, mode=mode, case=case, registration=registration)

    def ratio(over: float | None, under: float | None) -> float | None:
        return None if over is None or under is None else over / under

    def worst(values: list[float | None]) -> float | None:
        return None if None in values or not values else max(value for value in values if value is not None)

    def fixed(rows: list[Row], mode: str) -> float | None:
        """An ordinary fixed read, at its least: after the cases that write atime_needs_update() has 7 instructions more."""
        return min((row["instructions_per_io"] for row in rows if row["mode"] == mode and row["case"] == "read-4k"
                    and row["registration"] == "user"), default=None)

    def operations(mode: str, case: str) -> float | None:
        counts = [row["mechanisms"][name] for row in select(result["rows"], mode=mode, case=case, registration="dmabuf")
                  for name in ("map", "unmap", "flush")]
        return worst(counts)

    modes = result["modes"]
    found = [Goal(f"4 KiB {verb}, dma-buf: STRICT / PASSTHROUGH", 0.995, 1.005,
                  ratio(cost("strict", f"{verb}-4k", "dmabuf"), cost("passthrough", f"{verb}-4k", "dmabuf")))
             for verb in ("read", "write")]
    for case, passthrough, strict in (("read-4k", 0.83, 0.54), ("write-4k", 0.83, 0.54), ("read-64k", 0.54, 0.41),
                                      ("passthru-read-4k", 0.85, 0.55), ("file-read-4k", 0.75, 0.50), ("file-read-4k-xfs", 0.75, 0.50)):
        found += [Goal(f"{case}, dma-buf / user: {mode.upper()}", 0, bound,
                       ratio(cost(mode, case, "dmabuf"), cost(mode, case, "user")))
                  for mode, bound in (("passthrough", passthrough), ("strict", strict))]
    found.append(Goal("4 KiB read, dma-buf, passthrough command / block path: the worst mode", 0, 1,
                      worst([ratio(cost(mode, "passthru-read-4k", "dmabuf"), cost(mode, "read-4k", "dmabuf")) for mode in modes])))
    found.append(Goal("4 KiB read, dma-buf, multipath head / disk: the worst mode", 0, 1.08,
                      worst([ratio(cost(mode, "head-read-4k", "dmabuf"), cost(mode, "read-4k", "dmabuf")) for mode in modes])))
    found.append(Goal("1 MiB read, dma-buf / user: the worst mode", 0, 0.10,
                      worst([ratio(cost(mode, "read-1m", "dmabuf"), cost(mode, "read-1m", "user")) for mode in modes])))
    found += [Goal(f"dma-buf read, 1 MiB / 4 KiB, {pages} pages: the worst mode", 0, 1.15,
                   worst([ratio(cost(mode, f"read-1m{suffix}", "dmabuf"), cost(mode, f"read-4k{suffix}", "dmabuf"))
                          for mode in modes])) for pages, suffix in (("4 KiB", ""), ("2 MiB", "-huge"))]
    found.append(Goal("1 MiB read in STRICT, dma-buf: NVMe commands per I/O", 0, 1,
                      cost("strict", "read-1m", "dmabuf", "commands_per_io")))
    for suffix, where in (("", "ext4"), ("-xfs", "XFS")):
        found.append(Goal(f"1 MiB read of a file of {where}, dma-buf: NVMe commands per I/O", 0, 1,
                          worst([cost(mode, f"file-read-1m{suffix}", "dmabuf", "commands_per_io") for mode in modes])))
        found.append(Goal(f"reads of a file of {where}, dma-buf: IOMMU operations per I/O", 0, 0,
                          worst([operations(mode, f"file-read-{size}{suffix}") for mode in modes for size in ("4k", "1m")])))
    found += [Goal(f"4 KiB at the last offset / at 0 of {BUFFER.upper()}iB: {mode.upper()}", 0.995, 1.005,
                   ratio(cost(mode, "read-4k-last", "dmabuf"), cost(mode, "read-4k-first", "dmabuf"))) for mode in modes]
    found.append(Goal("plain READ_FIXED, this kernel / unpatched base: the worst mode", 0, 1.002,
                      worst([ratio(fixed(result["rows"], mode), fixed(result["base_rows"], mode)) for mode in modes])))
    return found


def noise(rows: list[Row]) -> float | None:
    """The largest relative difference between the two rounds of a cell."""
    pairs: dict[tuple[str, str, str], list[float]] = {}
    for each in rows:
        pairs.setdefault((each["mode"], each["case"], each["registration"]), []).append(each["instructions_per_io"])
    spreads = [max(values) / min(values) - 1 for values in pairs.values() if len(values) > 1]
    return max(spreads) if spreads else None
