# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's record as plain text, narrow enough for a mail."""

from typing import Any

from . import stats
from .claims import cells, claims
from .columns import COLUMNS, DEFAULT
from .fio import AGAIN
from .modes import IOMMUS

WIDTH = 12


def line(label: str, *fields: str) -> str:
    return f"  {label:<12}" + "".join(f"{field:>{WIDTH}}" for field in fields)


def compared(record: dict[str, Any], rows: str, value: str, form: str) -> list[str]:
    """Per job and mode: the median of each registration, then the last over the one before it, with its interval."""
    plan = record["plan"]
    registrations = plan["registrations"]
    text: list[str] = []
    for job in plan["jobs"]:
        pair = f"{registrations[-1]}/{registrations[-2]}" if len(registrations) > 1 else ""
        text.append(line("", *registrations, pair, "95 % CI", "n") if not text else "")
        text.append(f" {job}")
        for mode in plan["modes"]:
            values = [[row[value] for row in cells(record[rows], job=job, mode=mode, registration=registration)]
                      for registration in registrations]
            fields = [format(stats.median(each).value, form) for each in values]
            if pair:
                ratio = stats.ratio(values[-1], values[-2])
                fields += [f"{ratio.value:.3f}", f"{ratio.low:.2f}..{ratio.high:.2f}" if ratio.n > 1 else "-", str(ratio.n)]
            text.append(line(mode, *fields))
    return text


def verdicts(record: dict[str, Any]) -> list[str]:
    """Each wall-clock ratio to `user`: is it more than noise?"""
    text = [line("", "", "ratio", "95 % CI", "A/A band", "exact p") + "  called"]
    for job in record["plan"]["jobs"]:
        text.append(f" {job}")
        for mode in record["plan"]["modes"]:
            def of(registration: str) -> list[float]:
                return [row["iops"] for row in cells(record["speed"], job=job, mode=mode, registration=registration)]

            for registration in record["plan"]["registrations"]:
                if registration != "user" and of("user"):
                    found = stats.verdict(of(registration), of("user"), of(AGAIN))
                    text.append(line(mode, registration, f"{found.ratio.value:.3f}",
                                     f"{found.ratio.low:.2f}..{found.ratio.high:.2f}", f"{found.band:.0%}",
                                     f"{found.p:.3f}") + f"  {found}" + (f" ({found.objections[0]})" if found.objections else ""))
    return text


def operations(record: dict[str, Any]) -> list[str]:
    text = [line("", "", "map", "unmap", "flush", "commands", "KiB/command")]
    for job in record["plan"]["jobs"]:
        text.append(f" {job}")
        for row in cells(record["operations"], job=job):
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


def render(record: dict[str, Any]) -> str:
    made, place = record["made_of"], record["circumstances"]
    accel = "/".join(record["accel"]).upper()
    text = [
        f"Run {record['id']}: Linux {made['kernel']['release'].split()[0]}, fio {made['fio']['version']}, "
        f"{place['qemu'].split(' (')[0]}, {accel}, {machine(record)}",
        "",
        f"IOPS, emulated ({accel}): a null disk, time of an emulated machine. They rank the rows of one",
        "mode at best; they are no hardware figures.  Median of the rounds.",
        *compared(record, "speed", "iops", ",.0f"),
        "",
        "Is an IOPS ratio to `user` more than noise? Called only if interval, effect (above 5 % and twice the",
        "A/A band: `user` measured twice), exact rank test and every boot by itself agree; ~ if not.",
        *verdicts(record),
    ]
    if record["cost"]:
        text += [
            "",
            "Guest instructions per I/O (user, kernel, interrupts; QEMU's instruction clock)",
            *compared(record, "cost", "instructions_per_io", ",.0f"),
        ]
    if record["operations"]:
        text += [
            "",
            "Operations per I/O (tracepoints)",
            *operations(record),
            "",
        ]
    text += [
        *(f"{'holds' if claim.holds else 'FAILS'}: {claim.text}" for claim in claims(record)),
    ]
    return "\n".join(text) + "\n"
