# SPDX-License-Identifier: GPL-2.0-or-later
"""This build against a recorded one, by exact figures alone: what moved is real, and its function is named."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from .. import progress
from ..build import sources
from ..fault import Fault
from ..machine.modes import MODES
from ..measure import attribution, cost
from ..paths import BUILD, HISTORY, ROOT
from ..record import mechanisms, runs, store

SCHEMA = store.OF_HISTORY.schema
REPORT = BUILD / "regress"
MORE = 0.005  # of the instructions of an I/O; two boots of one build differ by less than half of that
GROWTH = 0.02  # operations per I/O: what is done once a batch of 32 is 0.03; below is an interrupt more or less
LEAST = 0.5  # instructions per I/O of a function that is recorded by name
CELLS = (("read-4k", "user"), ("read-4k", "dmabuf"), ("write-4k", "dmabuf"), ("read-1m", "dmabuf"))
ROUNDS = 2

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
        rows += cost.boot(kernel, mode, todo, REPORT / "boots" / mode)
        progress.say(f"regress: {mode}: {len(todo)} cells in {progress.clock(time.monotonic() - start)}")
    return squeeze(rows)


def commit() -> str:
    """Of this checkout, which a record names; a tree that is none has none."""
    return store.git("rev-parse", "HEAD")


def take(modes: Iterable[str], kernel: Path) -> Row:
    return {"schema": SCHEMA, "commit": commit(),
            "commit_date": store.git("show", "-s", "--format=%cI", "HEAD"), "subject": store.git("show", "-s", "--format=%s", "HEAD"),
            "made_of": {"kernel": store.made_of_kernel(kernel), "iocost_sha256": sources.sha256(BUILD / "iocost")},
            "circumstances": store.circumstances(), "cells": measure(modes, kernel)}


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
    after = {name_of(cell): cell for cell in new["cells"]}
    return [(cell, after[name_of(cell)]) for cell in base["cells"] if name_of(cell) in after]


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
            found.append(Finding(name_of(after), "instructions", mean(before["rounds"]), mean(after["rounds"]),
                                 tuple(attribution.moved(before["functions"], after["functions"], LEAST))))
        for name in mechanisms.OF_THE_IO:
            was, now = before["mechanisms"].get(name), after["mechanisms"][name]
            if was is not None and (now is None or now > was + GROWTH):
                found.append(Finding(name_of(after), name, was, now))
    return found


def confirmed(first: list[Finding], base: Row, again: Row) -> list[Finding]:
    """Those that a second boot shows as well."""
    seen = {(finding.cell, finding.what) for finding in findings(base, again)}
    return [finding for finding in first if (finding.cell, finding.what) in seen]


def lines(base: Row, new: Row) -> list[tuple[str, str, str, str]]:
    """Cell, before, after, change."""
    return [(name_of(after), f"{mean(before['rounds']):,.1f}", f"{mean(after['rounds']):,.1f}",
             f"{mean(after['rounds']) / mean(before['rounds']) - 1:+.2%}") for before, after in pairs(base, new)]


def heading(base: Row, new: Row) -> str:
    dirty = " and changes" if new["circumstances"]["git_dirty"] else ""
    return f"{base['commit'][:12]} ({base['subject']}) -> {new['commit'][:12]}{dirty}"


def verdict(found: list[Finding], compared: int) -> str:
    return f"{len(found)} regressions" if found else f"no regression in {compared} cells"


def text(base: Row, new: Row, found: list[Finding]) -> str:
    rows = lines(base, new)
    return "\n".join([f"Instructions per I/O, {heading(base, new)}",
                      *(f"  {cell:<30}{before:>11}{after:>11}{change:>9}" for cell, before, after, change in rows),
                      *(f"REGRESSION: {finding}" for finding in found), verdict(found, len(rows))]) + "\n"


def markdown(base: Row, new: Row, found: list[Finding]) -> str:
    """What a CI shows as its summary."""
    rows = lines(base, new)
    return "\n".join([f"### {verdict(found, len(rows))}", "", heading(base, new), "",
                      "| cell | before | after | change |", "|---|--:|--:|--:|",
                      *(f"| {' | '.join(row)} |" for row in rows), "",
                      *(f"```\n{finding}\n```" for finding in found)]) + "\n"


def in_order(records: Iterable[Row]) -> list[Row]:
    """Oldest first."""
    return sorted(records, key=lambda each: str(each["commit_date"]))


def history() -> list[Row]:
    """All records; which one is the newest is not known if one is broken."""
    return in_order(store.load(path, store.OF_HISTORY) for path in HISTORY.glob("*.json"))


def shown() -> list[Row]:
    """Those that a figure can be drawn of."""
    return in_order(store.others(HISTORY.glob("*.json"), store.OF_HISTORY).values())


def find(base: str) -> Row:
    """A record by path, by commit, or the newest there is."""
    if base and Path(base).exists():
        return store.load(store.find(base, store.OF_HISTORY), store.OF_HISTORY)
    known = shown() if base else history()
    if not known:
        raise Fault("results/history is empty: `make baseline` makes a record of this commit")
    if not base:
        return known[-1]
    commit = store.commit_of(base)
    for each in known:
        if each["commit"] == commit or (re.fullmatch("[0-9a-f]{7,}", base) and each["commit"].startswith(base)):
            return each
    raise Fault(f"results/history has no record of {base}: check it out and run `make baseline`, or choose one of "
                f"{' '.join(each['commit'][:12] for each in known)}")


def against(base: Row, modes: Iterable[str], kernel: Path) -> tuple[Row, list[Finding]]:
    """Measure and compare; what moved is measured again before it is called a regression."""
    new = take(modes, kernel)
    found = findings(base, new)
    if found:
        suspects = sorted({finding.cell.split()[0] for finding in found})
        progress.say(f"regress: {len(found)} suspects, measuring {' '.join(suspects)} again")
        found = confirmed(found, base, new | {"cells": measure(suspects, kernel)})
    return new, found


def unlike(base: Row, made_from: Row | None) -> str:
    """Why a kernel made from that cannot be compared with a record; empty if it can."""
    why = difference(base, {"schema": SCHEMA, "made_of": {"kernel": {"made_from": made_from}}})
    return f"{base['commit'][:12]} cannot be compared with this build: {why}" if why else ""


def forget() -> None:
    """An earlier verdict is not this one's."""
    for name in ("regress.txt", "summary.md", "record.json", "report.html", "history.svg", "history.png", "history.csv"):
        (REPORT / name).unlink(missing_ok=True)


def no_verdict(why: str) -> None:
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "summary.md").write_text(f"### no verdict\n\n```\n{why}\n```\n")


def publish(base: Row, new: Row, found: list[Finding]) -> str:
    """Report, summary and lists in build/regress; the text."""
    from ..show import dashboard, plot, report

    (REPORT / "regress.txt").write_text(text(base, new, found))
    (REPORT / "summary.md").write_text(markdown(base, new, found))
    store.write(REPORT / "record.json", new)
    dashboard.write(REPORT, smaller=dashboard.of_history(new))
    plot.history([*(each for each in shown() if each["commit"] != new["commit"]), new], REPORT)
    report.write(REPORT)
    return text(base, new, found)


def run(base: Row, modes: tuple[str, ...], kernel: Path) -> int:
    """0: no regression; 1: some."""
    with runs.alone("regress"):
        new, found = against(base, modes, kernel)
        print(f"\n{publish(base, new, found)}report: {REPORT.relative_to(ROOT)}")
    return 1 if found else 0


def recordable(kernel: Path | None) -> None:
    """A record names what it measures: a commit, and what the kernel was made from."""
    if changed := store.git("status", "--porcelain", "--", "kernel", "harness/guest", "harness/qemu", "harness/measure/cost.py"):
        raise Fault(f"a record names the commit that it measures: commit {changed.split()[-1]} first")
    if kernel and not store.made_of_kernel(kernel)["made_from"]:
        raise Fault(f"{kernel} does not say what it was made from: leave KERNEL= out")


def baseline(kernel: Path) -> Path:
    """The record of this commit, to be committed with the next."""
    with runs.alone("regress"):
        new = take(MODES, kernel)
    path = HISTORY / f"{new['commit'][:12]}.json"
    HISTORY.mkdir(parents=True, exist_ok=True)
    store.write(path, new)
    return path
