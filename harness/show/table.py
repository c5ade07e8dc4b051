# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's record as plain text, narrow enough for a mail."""

from statistics import median
from typing import Any

from ..judge import speed, stats
from ..judge.claims import claims
from ..machine.modes import IOMMUS
from ..measure import columns
from ..measure.columns import COLUMNS, DEFAULT
from ..record.rows import select, titled
from . import hero

WIDTH = 13


def line(label: str, *fields: str) -> str:
    return f"  {label:<12}" + "".join(f"{field:>{WIDTH}}" for field in fields)


def span(estimate: stats.Estimate) -> str:
    if estimate.n < 2:
        return "-"
    form = ".2f" if estimate.low >= 0.2 else ".3f"
    return f"{estimate.low:{form}}..{estimate.high:{form}}"


def compared(record: dict[str, Any], rows: str, value: str, form: str) -> list[str]:
    """Per job and mode: the median of each registration, then the last over the one before it, by pairs."""
    plan = record["plan"]
    registrations = plan["registrations"]
    text: list[str] = []
    for job in plan["jobs"]:
        pair = f"{registrations[-1]}/{registrations[-2]}" if len(registrations) > 1 else ""
        text.append(line("", *registrations, pair, "from..to", "which is") if not text else "")
        text.append(f" {titled(record, job)}")
        for mode in plan["modes"]:
            values = [stats.rounds(select(record[rows], job=job, mode=mode, registration=registration), value)
                      for registration in registrations]
            fields = [format(stats.median(each).value, form) for each in values]
            if pair:
                ratio = stats.ratio(values[-1], values[-2])
                fields += [f"{ratio.value:.3f}", span(ratio), ratio.named]
            text.append(line(mode, *fields).rstrip())
    return text


def verdicts(record: dict[str, Any]) -> list[str]:
    """Each wall-clock ratio to `user`: is it more than noise?"""
    text = [line("", "", "ratio", "from..to", "A/A band") + "  verdict"]
    for job in record["plan"]["jobs"]:
        text.append(f" {titled(record, job)}")
        for mode in record["plan"]["modes"]:
            for registration in record["plan"]["registrations"]:
                if registration != "user" and "user" in record["plan"]["registrations"]:
                    found = speed.verdict(record, job, mode, registration)
                    text.append(line(mode, registration, f"{found.ratio.value:.3f}", span(found.ratio), f"x{found.band:.2f}") + f"  {found}")
    return text


def operations(record: dict[str, Any]) -> list[str]:
    text = [line("", "", "map", "unmap", "flush", "commands", "KiB/command")]
    for job in record["plan"]["jobs"]:
        text.append(f" {titled(record, job)}")
        for row in select(record["operations"], job=job):
            fields = ["-" if row[f"{name}_per_io"] is None else f"{row[f'{name}_per_io']:.3f}"
                      for name in ("map", "unmap", "flush", "command")]
            text.append(line(row["mode"], row["registration"], *fields, f"{row['bytes_per_command'] / 1024:.0f}"))
    return text


def machine(record: dict[str, Any]) -> str:
    """What was measured on, and what set it apart from the reference."""
    if "host" in record:
        return f"{record['host']['model']} behind {' '.join(record['host']['iommu'])}"
    column = COLUMNS[record["plan"]["column"]["name"]] if "column" in record["plan"] else DEFAULT
    return f"{IOMMUS[column.iommu].text} and NVMe emulated" + ("" if column is DEFAULT else f"; {column.text}")


def text(record: dict[str, Any]) -> str:
    made, place = record["made_of"], record["circumstances"]
    accel = "/".join(record["accel"]).upper()
    lines = [
        f"Run {record['id']}: Linux {made['kernel']['release'].split()[0]}, fio {made['fio']['version']}, "
        f"{place['qemu'].split(' (')[0]}, {accel}, {machine(record)}",
        "",
        *([*headline, ""] if (headline := hero.text(record)) else []),
        f"IOPS, emulated ({accel}): a null disk, time of an emulated machine. They rank the rows of one",
        "mode at best; they are no hardware figures.  Median of the boots; the ratio is that of pairs, both",
        "measured in one boot, with its interval (confidence, and of how many) or, of few, its range.",
        *compared(record, "speed", "iops", ",.0f"),
        "",
        "Is an IOPS ratio to `user` more than noise? Called is what lies beyond 5 % and beyond the A/A band",
        "(how far `user` measured twice differs) with all of its interval; of fewer than five pairs, nothing.",
        "A boot is no pair if others had more than 10 % of the processor while one of its cells was measured.",
        *verdicts(record),
    ]
    if record["cost"]:
        lines += [
            "",
            "Guest instructions per I/O (user, kernel, interrupts; QEMU's instruction clock)",
            *compared(record, "cost", "instructions_per_io", ",.0f"),
        ]
    if record["operations"]:
        lines += [
            "",
            "Operations per I/O (tracepoints)",
            *operations(record),
            "",
        ]
    lines += [
        *(f"{'holds' if claim.holds else 'FAILS'}: {claim.text}" for claim in claims(record)),
    ]
    return "\n".join(lines) + "\n"


def number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def side_by_side(records: list[dict[str, Any]], modes: tuple[str, ...]) -> str:
    """What is exact of each column's run; IOPS of different runs do not compare."""
    text = ["Instructions and operations per I/O, every column (-: not counted there)",
            f"  {'':<12}{'':<13}{'':<8}{'instructions':>13}{'map':>8}{'unmap':>8}{'flush':>8}{'commands':>10}"]
    for job, of in {job: record for record in reversed(records) for job in record["plan"]["jobs"]}.items():
        text.append(f" {titled(of, job)}")
        for record in records:
            column = COLUMNS[record["plan"]["column"]["name"]]
            for row in record["operations"]:
                if row["job"] == job:
                    costs = [each["instructions_per_io"] for each in record["cost"]
                             if all(each[key] == row[key] for key in ("job", "mode", "registration"))]
                    counts = [number(row[f"{name}_per_io"], ".3f") for name in ("map", "unmap", "flush")]
                    text.append(f"  {column.name:<12}{row['mode']:<13}{row['registration']:<8}"
                                f"{number(median(costs) if costs else None, ',.0f'):>13}"
                                + "".join(f"{count:>8}" for count in counts) + f"{number(row['command_per_io'], '.3f'):>10}")
            text += [f"  {column.name:<12}{mode:<13}unavailable: {why}" for mode, why in columns.unavailable(column, modes).items()]
    return "\n".join(text)
