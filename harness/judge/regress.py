# SPDX-License-Identifier: GPL-2.0-or-later
"""This build against a recorded one, by exact figures alone: what moved is real, and its function is named."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from .. import progress
from ..measure import attribution, gate
from ..record import mechanisms, schema

MORE = 0.005  # of the instructions of an I/O; two boots of one build differ by less than half of that
GROWTH = 0.02  # operations per I/O: what is done once a batch of 32 is 0.03; below is an interrupt more or less

Row = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    cell: str
    what: str  # "instructions", or the name of a mechanism
    before: float
    after: float | None  # None: can no longer be counted
    moved: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        if self.after is None:
            return f"{self.cell}: {mechanisms.TITLES[self.what]} can no longer be counted"
        if self.what != "instructions":
            return f"{self.cell}: {mechanisms.TITLES[self.what]} per I/O {self.before:.3f} -> {self.after:.3f}"
        functions = "".join(f"\n  {change:+9.1f}  {name}" for name, change in self.moved[:8])
        return (f"{self.cell}: {self.before:,.1f} -> {self.after:,.1f} instructions per I/O, "
                f"{self.after / self.before - 1:+.2%}{functions}")


def difference(base: Row, new: Row) -> str:
    """Why the two cannot be compared; empty if they can.  Where a compiler puts what is its own affair."""
    if base["schema"] != new["schema"]:
        return f"the record has schema {base['schema']}, this is schema {new['schema']}"
    for key, what in (("compiler", "the compiler"), ("base", "the base kernel")):
        before, after = ((each["made_of"]["kernel"]["made_from"] or {}).get(key) for each in (base, new))
        if before != after or not before:
            return f"{what} was {before or 'not recorded'}, it is {after or 'not recorded'} now"
    return ""


def pairs(base: Row, new: Row) -> list[tuple[Row, Row]]:
    after = {gate.name_of(cell): cell for cell in new["cells"]}
    return [(cell, after[gate.name_of(cell)]) for cell in base["cells"] if gate.name_of(cell) in after]


def band(cell: Row) -> float:
    """What the rounds of one boot differ by."""
    return float(max(cell["rounds"]) / min(cell["rounds"]) - 1)


def more_instructions(before: Row, after: Row) -> bool:
    """Beyond the threshold and twice the noise on average, and in no pair of rounds less."""
    least = max(MORE, 2 * band(before), 2 * band(after))
    return mean(after["rounds"]) > mean(before["rounds"]) * (1 + least) and min(after["rounds"]) > max(before["rounds"])


def findings(base: Row, new: Row) -> list[Finding]:
    found = []
    for before, after in pairs(base, new):
        if more_instructions(before, after):
            found.append(Finding(gate.name_of(after), "instructions", mean(before["rounds"]), mean(after["rounds"]),
                                 tuple(attribution.moved(before["functions"], after["functions"], gate.LEAST))))
        for name in mechanisms.OF_THE_IO:
            was, now = before["mechanisms"].get(name), after["mechanisms"].get(name)
            if was is not None and (now is None or now > was + GROWTH):
                found.append(Finding(gate.name_of(after), name, was, now))
    return found


def improvements(base: Row, new: Row) -> list[Finding]:
    """What costs less, by the same measure: findings the other way round."""
    return [replace(each, before=each.after, after=each.before, moved=tuple((name, -change) for name, change in each.moved))
            for each in findings(new, base) if each.after is not None]


def confirmed(first: list[Finding], base: Row, again: Row) -> list[Finding]:
    """Those that a second boot shows as well."""
    seen = {(finding.cell, finding.what) for finding in findings(base, again)}
    return [finding for finding in first if (finding.cell, finding.what) in seen]


def against(base: Row, modes: Iterable[str], kernel: Path) -> tuple[Row, list[Finding]]:
    """Measure and compare; what moved is measured again before it is called a regression."""
    new = gate.take(modes, kernel)
    found = findings(base, new)
    if found:
        suspects = sorted({finding.cell.split()[0] for finding in found})
        progress.say(f"regress: {len(found)} suspects, measuring {' '.join(suspects)} again")
        found = confirmed(found, base, new | {"cells": gate.measure(suspects, kernel)})
    return new, found


def unlike(base: Row, made_from: Row | None) -> str:
    """Why a kernel made from that cannot be compared with a record; empty if it can."""
    why = difference(base, {"schema": schema.OF_HISTORY.schema, "made_of": {"kernel": {"made_from": made_from}}})
    return f"{base['commit'][:12]} cannot be compared with this build: {why}" if why else ""
