# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures from run.json alone: SVG, PNG and the numbers as CSV, the same bytes each time."""

import csv
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from ..judge import stats  # noqa: E402
from ..measure import attribution, bench, cost  # noqa: E402
from ..record.rows import select  # noqa: E402
from ..record.schema import AGAIN  # noqa: E402

# Okabe and Ito's palette; hatches for grey print.
LOOK = {"none": ("#999999", ""), "user": ("#E69F00", "//"), "dmabuf": ("#0072B2", "..")}
matplotlib.rcParams.update({"svg.hashsalt": "dmabuf-bench", "svg.fonttype": "none", "font.size": 9, "hatch.linewidth": 0.5,
                            "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110})

LINES = {"none": ":", "user": "--", "dmabuf": "-"}
MARKS = {"none": "^", "user": "s", "dmabuf": "o"}
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
            values = stats.rounds(select(record[rows], job=job, mode=mode, registration=registration), value)
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
            row = select(record["operations"], job=job, mode=mode, registration=registration)[0]
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
    shares = [attribution.by_subsystem(row["functions"]) for row in rows]
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


def caption(record: Row) -> str:
    return f"{'/'.join(record['accel']).upper()} emulation, not hardware; run {record['id']}"


def forest(record: Row, directory: Path) -> None:
    """IOPS of dmabuf over user, a row a cell; grey: user over user, what noise alone does."""
    plan = record["plan"]
    if not {"user", "dmabuf"} <= set(plan["registrations"]):
        return
    keys = [(mode, job) for job in plan["jobs"] for mode in plan["modes"]]
    numbers: list[Row] = []
    ratios: list[stats.Estimate] = []
    drawing, axes = plt.subplots(figsize=(7, 0.26 * len(keys) + 1.7))
    for y, (mode, job) in enumerate(keys):
        values = {name: stats.rounds(select(record["speed"], mode=mode, job=job, registration=name), "iops")
                  for name in ("dmabuf", "user", AGAIN)}
        found = stats.verdict(values["dmabuf"], values["user"], values[AGAIN])
        axes.barh(y, found.band - 1 / found.band, 0.8, left=1 / found.band, color="#DDDDDD", label="A/A: user over user" if not y else None)
        axes.errorbar(found.ratio.value, y, xerr=[[max(found.ratio.value - found.ratio.low, 0)],
                                                  [max(found.ratio.high - found.ratio.value, 0)]],
                      color=LOOK["dmabuf"][0], fmt="o" if found.called else "x", capsize=2, markersize=4, linewidth=1,
                      label="dmabuf over user (x: no verdict)" if not y else None)
        ratios.append(found.ratio)
        numbers.append({"job": job, "mode": mode, "ratio": found.ratio.value, "low": found.ratio.low, "high": found.ratio.high,
                        "confidence": found.ratio.confidence, "n": found.ratio.n, "band": found.band, "called": found.called,
                        "reason": found.reason})
    what = " and ".join(dict.fromkeys(f"interval {found.named} pairs" if found.confidence >= stats.INTERVAL else found.named for found in ratios))
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(keys)), [f"{job}, {mode}" for mode, job in keys], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda number, _: f"{number:g}"))
    axes.set_xlabel(f"ratio of IOPS in one boot, log scale; {what}")
    drawing.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False, fontsize=8)
    axes.set_title(f"What a registered dma-buf does to IOPS\n{caption(record)}", fontsize=10)
    drawing.tight_layout(rect=(0, 0.3 / drawing.get_figheight(), 1, 1))
    save(drawing, numbers, directory / "forest")


def percentiles(axes: Axes, record: Row, job: str) -> list[Row]:
    """Median over the runs of p50, p99 and p99.9; reads, where a job does both."""
    numbers, x = [], 0.0
    for mode in record["plan"]["modes"]:
        for registration in record["plan"]["registrations"]:
            rows = select(record["speed"], job=job, mode=mode, registration=registration)
            way = "read" if "read" in rows[0]["latency_ns"] else "write"
            heights = {name: float(stats.median([row["latency_ns"][way][name] for row in rows]).value) / 1000
                       for name in ("p50", "p99", "p999")}
            colour, hatch = LOOK[registration]
            axes.bar(x, heights["p50"], 0.85, color=colour, hatch=hatch, edgecolor="white",
                     label=f"{registration}: p50" if mode == record["plan"]["modes"][0] else None)
            for name, mark in (("p99", "_"), ("p999", "2")):
                axes.plot(x, heights[name], mark, color="black", markersize=8,
                          label={"p99": "p99", "p999": "p99.9"}[name] if not x else None)
            numbers.append({"job": job, "mode": mode, "registration": registration, "direction": way,
                            **{f"{name}_us": value for name, value in heights.items()}, "n": len(rows)})
            x += 1
        x += 0.7
    step = len(record["plan"]["registrations"]) + 0.7
    axes.set_title(job)
    axes.set_xticks([index * step + (step - 1.7) / 2 for index in range(len(record["plan"]["modes"]))], record["plan"]["modes"])
    axes.set_ylim(bottom=0)
    return numbers


def curve(axes: Axes, points: dict[str, list[tuple[float, float, float, float]]], logarithmic: bool) -> None:
    """Lines over a logarithmic x, with a ribbon from low to high; y from zero unless it says otherwise."""
    for registration, line in points.items():
        xs, values, lows, highs = zip(*line)
        axes.plot(xs, values, LINES[registration], marker=MARKS[registration], color=LOOK[registration][0], markersize=4,
                  label=registration)
        axes.errorbar(xs, values, [[value - low for value, low in zip(values, lows)], [high - value for value, high in zip(values, highs)]],
                      color=LOOK[registration][0], fmt="none", capsize=2, linewidth=0.8)
        axes.fill_between(xs, lows, highs, color=LOOK[registration][0], alpha=0.2, linewidth=0)
    places = sorted({point[0] for line in points.values() for point in line})
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{place:g}" for place in places], fontsize=7)
    axes.minorticks_off()
    if logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda number, _: f"{number:,.6g}"))


def panels(name: str, title: str, rows: list[tuple[str, str]], modes: list[str], draw: Any, directory: Path) -> None:
    """A row of panels for each of (x label, y label), a column for each mode, y shared along a row."""
    drawing, grid = plt.subplots(len(rows), len(modes), figsize=(max(2.9 * len(modes), 5), 2.5 * len(rows) + 0.9), squeeze=False,
                                 sharey="row")
    numbers: list[Row] = []
    for at, (x_label, y_label) in enumerate(rows):
        for axes, mode in zip(grid[at], modes):
            points = draw(at, mode)
            curve(axes, points, "(log" in y_label)
            axes.set_title(mode, fontsize=9)
            axes.set_xlabel(x_label)
            numbers += [{"against": x_label, "unit": y_label, "mode": mode, "registration": registration, "x": x, "value": value,
                         "low": low, "high": high} for registration, line in points.items() for x, value, low, high in line]
        grid[at][0].set_ylabel(y_label)
    handles, labels = grid[0][0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    drawing.suptitle(title, fontsize=10)
    drawing.tight_layout(rect=(0, 0.3 / drawing.get_figheight(), 1, 1))
    save(drawing, numbers, directory / name)


def sweep(record: Row, directory: Path) -> None:
    """IOPS against block size and queue depth, where a run has them (BENCH=sweep)."""
    plan = record["plan"]
    kinds = [(kind, jobs, label) for kind, label in (("bs", "block size, KiB"), ("qd", "queue depth"))
             if (jobs := [job for job in plan["jobs"] if job.startswith(f"{kind}-")])]

    def points(at: int, mode: str) -> dict[str, list[tuple[float, float, float, float]]]:
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for registration in plan["registrations"]:
            for job in kinds[at][1]:
                estimate = stats.median(stats.rounds(select(record["speed"], job=job, mode=mode, registration=registration), "iops"))
                x = float(job.partition("-")[2].rstrip("k"))
                found.setdefault(registration, []).append((x, estimate.value, estimate.low, estimate.high))
        return found

    if kinds:
        panels("sweep", f"IOPS against block size and queue depth\n{caption(record)}",
               [(label, "IOPS") for _, _, label in kinds], list(plan["modes"]), points, directory)


def curves(record: Row, directory: Path) -> None:
    """From cost.json: instructions per I/O against block size and depth, and what registering takes against size."""
    axes_of = {
        ("block size, KiB", "instructions per I/O (log scale)"): ("instructions_per_io", 1.0, {
            name: cost.block_bytes(cost.CASES[name]) / 1024 for name in ("read-4k", "read-16k", "read-64k", "read-256k", "read-1m")}),
        ("queue depth", "instructions per I/O"): ("instructions_per_io", 1.0, {
            **{f"read-4k-qd{depth}": float(depth) for depth in cost.DEPTHS}, "read-4k": 128.0}),
        ("registered, MiB", "to register, ms of guest time"): ("register_ns", 1e-6, {
            name: cost.size_bytes(cost.option(cost.CASES[name], "--size", "64m")) / (1 << 20)
            for name in (*(f"register-{size}" for size in cost.REGISTERED), "read-4k")}),
    }
    chosen = {labels: wanted for labels, wanted in axes_of.items()
              if sum(any(row["case"] == case for row in record["rows"]) for case in wanted[2]) > 1}

    def points(at: int, mode: str) -> dict[str, list[tuple[float, float, float, float]]]:
        value, unit, places = list(chosen.values())[at]
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for registration in ("user", "dmabuf"):
            for case, x in sorted(places.items(), key=lambda item: item[1]):
                values = [row[value] * unit for row in select(record["rows"], mode=mode, case=case, registration=registration)]
                if values:
                    found.setdefault(registration, []).append((x, sum(values) / len(values), min(values), max(values)))
        return found

    if chosen:
        panels("curves", f"Exact cost against block size, queue depth and registered size\nTCG emulation, not hardware; run {record['id']}",
               list(chosen), list(record["modes"]), points, directory)


def change_points(values: list[float], least: float = 0.005) -> list[int]:
    """Where exact figures step: no statistics, for there is no noise to speak of."""
    return [index for index in range(1, len(values)) if abs(values[index] / values[index - 1] - 1) > least]


def history(records: list[Row], directory: Path) -> None:
    """Instructions per I/O by commit; a line breaks where compiler or base changed, and steps are marked."""
    names = sorted({f"{cell['mode']} {cell['case']} {cell['registration']}" for each in records for cell in each["cells"]})
    if not names:
        return
    columns = 3
    rows = -(-len(names) // columns)
    drawing, grid = plt.subplots(rows, columns, figsize=(10.5, 1.9 * rows + 1.3), squeeze=False, sharex=True)
    numbers: list[Row] = []
    for axes, name in zip(grid.flat, names):
        line: list[tuple[int, float, str]] = []
        for x, each in enumerate(records):
            for cell in each["cells"]:
                if f"{cell['mode']} {cell['case']} {cell['registration']}" == name:
                    made = each["made_of"]["kernel"]["made_from"] or {}
                    line.append((x, sum(cell["rounds"]) / len(cell["rounds"]), f"{made.get('compiler')} {made.get('base')}"))
        steps = {line[at][0] for at in change_points([value for _, value, _ in line]) if line[at][2] == line[at - 1][2]}
        for made in dict.fromkeys(made for _, _, made in line):
            part = [(x, value) for x, value, same in line if same == made]
            axes.plot(*zip(*part), "o-", color=LOOK["dmabuf"][0] if name.endswith("dmabuf") else LOOK["user"][0], markersize=3)
        for before, after in zip(line, line[1:]):
            if before[2] != after[2]:
                axes.axvline((before[0] + after[0]) / 2, color="black", linestyle=":", linewidth=0.8)
        for x, value, _ in line:
            if x in steps:
                axes.plot(x, value, "D", markerfacecolor="none", markeredgecolor="#D55E00", markersize=8)
            numbers.append({"cell": name, "commit": records[x]["commit"][:12], "instructions_per_io": value, "step": x in steps})
        axes.set_title(name, fontsize=8)
        values = [value for _, value, _ in line]
        axes.set_ylim(min(values) * 0.98, max(values) * 1.02)  # so that noise looks like noise
        axes.set_xticks(range(len(records)), [each["commit"][:7] for each in records], rotation=60, fontsize=6)
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda number, _: f"{number:,.0f}"))
    for axes in grid.flat[len(names):]:
        axes.set_axis_off()
    drawing.suptitle("Instructions per I/O by commit (diamond: a step of 0.5 % and more; dotted: another compiler or base)\n"
                     "TCG emulation, exact counts", fontsize=10)
    drawing.tight_layout()
    save(drawing, numbers, directory / "history")


def thousands(number: float) -> str:
    return f"{number / 1e3:.0f}k" if number >= 99500 else f"{number / 1e3:.1f}k"


def shown(record: Row, directory: Path) -> None:
    """README.md's first picture: what a read costs, the figures on the bars."""
    plan, titles = record["plan"], {"user": "user memory", "dmabuf": "dma-buf, mapped once"}
    jobs = [job for job in bench.SHOWN if job in plan["jobs"]]
    if not jobs or not titles.keys() <= set(plan["registrations"]):
        return
    drawing, grid = plt.subplots(1, len(jobs), figsize=(max(2.6 * len(jobs), 5), 2.5), squeeze=False)
    numbers: list[Row] = []
    for axes, job in zip(grid.flat, jobs):
        for registration, side in zip(titles, (-0.21, 0.21)):
            colour, hatch = LOOK[registration]
            for index, mode in enumerate(plan["modes"]):
                value = stats.median([row["instructions_per_io"] for row in select(record["cost"], job=job, mode=mode, registration=registration)]).value
                axes.bar(index + side, value, 0.4, color=colour, hatch=hatch, edgecolor="white", label=None if index else titles[registration])
                axes.annotate(thousands(value), (index + side, value), ha="center", va="bottom", fontsize=7)
                numbers.append({"job": job, "mode": mode, "registration": registration, "median": value})
        axes.set_title(bench.SHOWN[job], fontsize=9)
        axes.set_xticks(range(len(plan["modes"])), [mode.upper() for mode in plan["modes"]], fontsize=7)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    drawing.legend(*grid.flat[0].get_legend_handles_labels(), loc="lower center", ncols=len(titles), frameon=False)
    drawing.suptitle(f"Instructions of the processor for one read, by IOMMU mode\n{caption(record)}", fontsize=9)
    drawing.tight_layout(rect=(0, 0.08, 1, 1))
    save(drawing, numbers, directory / "shown")


def whiskers(record: Row, rows: str) -> str:
    """What a bar and its whiskers are."""
    named = stats.median([0.0] * len({row["round"] for row in record[rows]})).named
    return "one measurement" if named == "one" else f"median and {named}" if named.startswith("range") else f"median and interval, {named}"


def draw(record: Row, directory: Path) -> None:
    figure(record, "iops", f"IOPS by IOMMU mode and registration: {whiskers(record, 'speed')}", "IOPS",
           lambda axes, job: bars(axes, record, job, "speed", "iops"), directory)
    forest(record, directory)
    sweep(record, directory)
    figure(record, "latency", "Completion latency: median of the runs", "microseconds, emulated",
           lambda axes, job: percentiles(axes, record, job), directory)
    if not record["cost"]:
        return
    shown(record, directory)
    figure(record, "cost", f"Guest instructions per I/O: {whiskers(record, 'cost')}",
           "instructions per I/O", lambda axes, job: bars(axes, record, job, "cost", "instructions_per_io"), directory)
    figure(record, "operations", "IOMMU operations per I/O", "operations per I/O",
           lambda axes, job: stacks(axes, record, job), directory)
