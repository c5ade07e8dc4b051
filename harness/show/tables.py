# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of a report, as rows of text."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from ..judge import regress, stats
from ..judge import speed as judged
from ..judge.goals import goals
from ..measure import attribution, gate
from ..record import mechanisms
from ..record.rows import average, select, titled

Row = dict[str, Any]
TOP = 20  # functions


@dataclass(frozen=True)
class Table:
    """`words`: how many columns at the left are no numbers."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""
    words: int = 2
    folded: bool = False


def said(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def span(estimate: stats.Estimate) -> str:
    return "-" if estimate.n < 2 else f"{estimate.low:.3g} to {estimate.high:.3g}"


def places(record: Row) -> Iterable[tuple[str, str]]:
    return ((job, mode) for job in record["plan"]["jobs"] for mode in record["plan"]["modes"])


def cost(record: Row) -> Table:
    names = record["plan"]["registrations"]
    rows = []
    for job, mode in places(record):
        values = [stats.rounds(select(record["cost"], job=job, mode=mode, registration=name), "instructions_per_io") for name in names]
        found = [titled(record, job), mode, *(said(median(each) if each else None, ",.0f") for each in values)]
        if len(names) > 1:
            ratio = stats.ratio(values[-1], values[-2])
            found += [f"{ratio.value:.3f}", span(ratio)]
        rows.append(tuple(found))
    pair = (f"{names[-1]} / {names[-2]}", "from, to") if len(names) > 1 else ()
    return Table("Instructions per I/O", ("job", "mode", *names, *pair), rows,
                 "Everything that the guest executes: fio, kernel, interrupts. The ratio is that of pairs, with its range.")


def operations(record: Row) -> Table:
    rows = [(titled(record, job), row["mode"], row["registration"], *(said(row[f"{name}_per_io"], ".3f") for name in ("map", "unmap", "flush", "command")),
             f"{row['bytes_per_command'] / 1024:.0f}") for job in record["plan"]["jobs"] for row in select(record["operations"], job=job)]
    return Table("Operations per I/O", ("job", "mode", "registration", "IOMMU maps", "unmaps", "IOTLB flushes", "NVMe commands", "KiB a command"), rows,
                 "Counted by tracepoints. These carry over to hardware.", words=3, folded=True)


def speed(record: Row) -> Table:
    rows = []
    for job, mode in places(record):
        def of(name: str) -> list[float]:
            return stats.rounds(select(record["speed"], job=job, mode=mode, registration=name), "iops")

        for name in record["plan"]["registrations"]:
            found = judged.verdict(record, job, mode, name) if name != "user" and of("user") else None
            rows.append((titled(record, job), mode, name, f"{stats.median(of(name)).value:,.0f}", *((f"{found.ratio.value:.3f}", span(found.ratio), f"x{found.band:.2f}", str(found))
                                                                                   if found else ("", "", "", ""))))
    return Table("IOPS of the emulated machine", ("job", "mode", "registration", "IOPS", "over user", "from, to", "A/A band", "more than noise?"), rows,
                 "Time of an emulated machine: it ranks the rows of one mode at best, and is no hardware figure. Called is what lies beyond 5 % and beyond "
                 "the A/A band, how far `user` measured twice differs.", words=3, folded=True)


def cases(result: Row) -> Table:
    rows = []
    for case in result["cases"]:
        for mode in result["modes"]:
            def of(registration: str, value: str = "instructions_per_io") -> float | None:
                return average(result["rows"], value, mode=mode, case=case, registration=registration)

            costs = [of(name) for name in ("none", "user", "dmabuf")]
            if any(costs):
                rows.append((case, mode, *(said(each, ",.1f") for each in costs), f"{costs[2] / costs[1]:.3f}" if costs[1] and costs[2] else "-",
                             said(of("dmabuf", "commands_per_io"), ".3f"), said((of("dmabuf", "register_ns") or 0) / 1e6, ".2f")))
    return Table("Exact cost per I/O", ("case", "mode", "none", "user", "dmabuf", "dmabuf / user", "commands per I/O", "ms to register"), rows,
                 "Instructions of the whole guest, counted one by one by a small program in place of fio.")


def aims(result: Row) -> Table:
    rows = [(goal.text, said(goal.value, ".3f"), f"{goal.low:g} to {goal.high:g}" if goal.low else f"up to {goal.high:g}", goal.verdict) for goal in goals(result)]
    return Table("Goals", ("what", "is", "is to be", ""), rows, words=1)


def counts(result: Row) -> Table:
    """How often an I/O does what is dear, and who executes the instructions."""
    rows = [each for each in result["rows"] if each["round"] == 1]
    names = [name for name in mechanisms.TITLES if any(each["mechanisms"][name] != 0 for each in rows)]
    return Table("What an I/O does", ("case", "mode", "registration", "user", "kernel", "interrupt", *(mechanisms.TITLES[name] for name in names)),
                 [(each["case"], each["mode"], each["registration"], *(f"{each['contexts'][name]:,.0f}" for name in ("user", "kernel", "interrupt")),
                   *(said(each["mechanisms"][name], ".3f") for name in names)) for each in rows],
                 "Instructions by who executes them, and calls per I/O.", words=3, folded=True)


def functions(result: Row, case: str = "read-4k") -> list[Table]:
    return [Table(f"Where the instructions are: {case}, {row['mode']}, {row['registration']}", ("function", "subsystem", "instructions per I/O"),
                  [(name, attribution.subsystem(name), f"{count:,.1f}") for name, count in list(row["functions"].items())[:TOP]], folded=True)
            for row in result["rows"] if row["case"] == case and row["round"] == 1 and row["registration"] == "dmabuf"]


def compared(base: Row, new: Row) -> Table:
    rows = [(gate.name_of(after), f"{mean(before['rounds']):,.1f}", f"{mean(after['rounds']):,.1f}", f"{mean(after['rounds']) / mean(before['rounds']) - 1:+.2%}")
            for before, after in regress.pairs(base, new)]
    return Table("Instructions per I/O against the recorded commit", ("cell", "before", "after", "change"), rows, words=1)
