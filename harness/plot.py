# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures from run.json alone: SVG, PNG and the numbers as CSV, the same bytes each time."""

import csv
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from . import profile, stats  # noqa: E402
from .claims import cells  # noqa: E402

# Okabe and Ito's palette; hatches for grey print.
LOOK = {"none": ("#999999", ""), "user": ("#E69F00", "//"), "dmabuf": ("#0072B2", "..")}
matplotlib.rcParams.update({"svg.hashsalt": "dmabuf-bench", "svg.fonttype": "none", "font.size": 9, "hatch.linewidth": 0.5,
                            "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110})

Row = dict[str, Any]


def save(figure: plt.Figure, rows: list[Row], place: Path) -> None:
    figure.savefig(place.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
    figure.savefig(place.with_suffix(".png"), metadata={"Software": None})
    plt.close(figure)
    with place.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def bars(axes: Axes, record: Row, job: str, rows: str, value: str) -> list[Row]:
    """Mode by registration: median bar, interval whisker, every repetition a dot."""
    plan, numbers = record["plan"], []
    width = 0.8 / len(plan["registrations"])
    for at, registration in enumerate(plan["registrations"]):
        colour, hatch = LOOK[registration]
        for index, mode in enumerate(plan["modes"]):
            values = [row[value] for row in cells(record[rows], job=job, mode=mode, registration=registration)]
            estimate = stats.median(values)
            x = index + (at - (len(plan["registrations"]) - 1) / 2) * width
            axes.bar(x, estimate.value, width * 0.92, color=colour, hatch=hatch, edgecolor="white",
                     label=registration if not index else None)
            axes.errorbar(x, estimate.value, [[estimate.value - estimate.low], [estimate.high - estimate.value]],
                          color="black", capsize=2, linewidth=0.8)
            axes.plot([x] * len(values), values, "o", color="black", markersize=2, alpha=0.6)
            numbers.append({"job": job, "mode": mode, "registration": registration, "median": estimate.value,
                            "low": estimate.low, "high": estimate.high, "confidence": estimate.confidence,
                            "n": estimate.n, "runs": " ".join(f"{number:.6g}" for number in values)})
    axes.set_title(job)
    axes.set_xticks(range(len(plan["modes"])), plan["modes"])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda number, _: f"{number:,.0f}"))
    return numbers


def stacks(axes: Axes, record: Row, job: str) -> list[Row]:
    """IOMMU operations per I/O, stacked; zero is written out."""
    plan, numbers = record["plan"], []
    width = 0.8 / len(plan["registrations"])
    looks = {"map": ("#56B4E9", ""), "unmap": ("#009E73", "//"), "flush": ("#D55E00", "..")}
    for at, registration in enumerate(plan["registrations"]):
        for index, mode in enumerate(plan["modes"]):
            row = cells(record["operations"], job=job, mode=mode, registration=registration)[0]
            x, base = index + (at - (len(plan["registrations"]) - 1) / 2) * width, 0.0
            for name, (colour, hatch) in looks.items():
                height = row[f"{name}_per_io"] or 0
                axes.bar(x, height, width * 0.92, bottom=base, color=colour, hatch=hatch, edgecolor="white",
                         label=name if not at and not index else None)
                base += height
            axes.annotate(f"{registration}\n{base:.3g}", (x, base), ha="center", va="bottom", fontsize=7)
            numbers.append({key: row[key] for key in ("job", "mode", "registration", "map_per_io", "unmap_per_io",
                                                       "flush_per_io", "command_per_io", "bytes_per_command")})
    axes.set_title(job)
    axes.set_xticks(range(len(plan["modes"])), plan["modes"])
    axes.margins(y=0.2)
    axes.set_ylim(bottom=0)
    return numbers


def figure(record: Row, name: str, title: str, unit: str, draw: Any, directory: Path) -> None:
    jobs = record["plan"]["jobs"]
    columns = min(len(jobs), 3)
    shape = (-(-len(jobs) // columns), columns)
    height = 2.6 * shape[0] + 1.0
    drawing, grid = plt.subplots(*shape, figsize=(max(3.6 * columns, 6), height), squeeze=False)
    numbers: list[Row] = []
    for axes, job in zip(grid.flat, jobs):
        numbers += draw(axes, job)
    for axes in grid.flat[len(jobs):]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel(unit)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    accel = "/".join(record["accel"]).upper()
    drawing.suptitle(f"{title}\n{accel} emulation, not hardware; run {record['id']}", fontsize=10)
    drawing.tight_layout(rect=(0, 0.3 / height, 1, 1))
    save(drawing, numbers, directory / name)


def subsystems(record: Row, directory: Path, case: str = "read-4k") -> None:
    """Instructions per I/O by mode and registration, stacked by subsystem."""
    rows = [row for row in record["rows"] if row["case"] == case and row["round"] == 1]
    if not rows:
        return
    shares = [profile.by_subsystem(row["functions"]) for row in rows]
    colours = ("#999999", "#56B4E9", "#0072B2", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#000000")
    hatches = ("", "//", "", "xx", "..", "", "\\\\", "")
    drawing, axes = plt.subplots(figsize=(max(6, 0.8 * len(rows) + 2.5), 4.2))
    numbers: list[Row] = []
    base = [0.0] * len(rows)
    for (name, colour, hatch) in zip(shares[0], colours, hatches, strict=True):
        heights = [share[name] for share in shares]
        axes.bar(range(len(rows)), heights, 0.8, bottom=base, color=colour, hatch=hatch, edgecolor="white", label=name)
        base = [low + height for low, height in zip(base, heights)]
    for index, row in enumerate(rows):
        axes.annotate(f"{row['instructions_per_io']:,.0f}", (index, base[index]), ha="center", va="bottom", fontsize=8)
        numbers.append({"mode": row["mode"], "registration": row["registration"], "total": row["instructions_per_io"],
                        **shares[index]})
    axes.set_xticks(range(len(rows)), [f"{row['mode']}\n{row['registration']}" for row in rows], fontsize=7)
    axes.set_ylabel("guest instructions per I/O")
    handles, labels = axes.get_legend_handles_labels()  # stacked as the bars are
    axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.set_title(f"{case}: every instruction of the guest, by subsystem\nTCG emulation, not hardware; run {record['id']}",
                   fontsize=10)
    drawing.tight_layout()
    save(drawing, numbers, directory / "subsystems")


def draw(record: Row, directory: Path) -> None:
    rounds, cost_rounds = record["plan"]["rounds"], record["plan"]["cost_rounds"]
    figure(record, "iops", f"IOPS by IOMMU mode and registration: median and interval of {rounds} runs", "IOPS",
           lambda axes, job: bars(axes, record, job, "speed", "iops"), directory)
    figure(record, "cost", f"Guest instructions per I/O: median and interval of {cost_rounds} measurements",
           "instructions per I/O", lambda axes, job: bars(axes, record, job, "cost", "instructions_per_io"), directory)
    figure(record, "operations", "IOMMU operations per I/O", "operations per I/O",
           lambda axes, job: stacks(axes, record, job), directory)
