# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures from run.json alone: SVG, PNG and the numbers as CSV, the same bytes each time."""

import csv
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from ..judge import speed, stats  # noqa: E402
from ..measure import attribution, cost  # noqa: E402
from ..record.rows import select, titled  # noqa: E402
from . import hero as headline  # noqa: E402
from . import published  # noqa: E402

# Okabe and Ito's palette; hatches for grey print.
LOOK = {"none": ("#999999", ""), "user": ("#E69F00", "//"), "dmabuf": ("#0072B2", "..")}
matplotlib.rcParams.update({"svg.hashsalt": "dmabuf-bench", "svg.fonttype": "none", "font.size": 9, "hatch.linewidth": 0.5,
                            "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110})

INK = {"user": "#A66A00", "dmabuf": "#00588C"}  # of words: darker than lines
LINES = {"none": ":", "user": "--", "dmabuf": "-"}
MARKS = {"none": "^", "user": "s", "dmabuf": "o"}
DECADES = 20  # beyond this ratio in one panel the scale is logarithmic
ENOUGH = 5  # recorded commits: fewer are no history
Row = dict[str, Any]


def save(figure: plt.Figure, rows: list[Row], place: Path) -> None:
    figure.savefig(place.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
    figure.savefig(place.with_suffix(".png"), metadata={"Software": None})
    plt.close(figure)
    with place.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def short(number: float) -> str:
    """As it stands on a bar."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}"


def place(plan: Row, index: int, at: int) -> tuple[float, float]:
    """Where the bar of a mode and a registration stands, and how wide it is."""
    width = 0.86 / len(plan["registrations"])
    return index + (at - (len(plan["registrations"]) - 1) / 2) * width, width * 0.92


def finish(axes: Axes, plan: Row, title: str, tops: list[float]) -> None:
    """Modes below, room for what stands on the bars above; a log scale where one bar would hide another."""
    spread = max(tops) / min(tops) if min(tops) > 0 else 0
    if spread > DECADES:
        axes.set_yscale("log")
        axes.set_ylim(min(tops) / 2, max(tops) * (max(tops) / min(tops)) ** 0.15)
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 3)))
        axes.minorticks_off()
    else:
        axes.set_ylim(0, max(*tops, 1e-9) * 1.18)
    axes.set_title(title + (" (log scale)" if spread > DECADES else ""), fontsize=9)
    axes.set_xticks(range(len(plan["modes"])), plan["modes"], fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda number, _: short(number)))


def bars(axes: Axes, record: Row, job: str, rows: str, value: str) -> list[Row]:
    """Mode by registration: median bar, interval whisker, every repetition a dot; the median is written on top."""
    plan, numbers = record["plan"], []
    for at, registration in enumerate(plan["registrations"]):
        colour, hatch = LOOK[registration]
        for index, mode in enumerate(plan["modes"]):
            values = stats.rounds(select(record[rows], job=job, mode=mode, registration=registration), value)
            estimate = stats.median(values)
            x, width = place(plan, index, at)
            axes.bar(x, estimate.value, width, color=colour, hatch=hatch, edgecolor="white", label=registration if not index else None)
            axes.errorbar(x, estimate.value, [[estimate.value - estimate.low], [estimate.high - estimate.value]],
                          color="black", capsize=2, linewidth=0.8)
            axes.plot([x] * len(values), values, "o", color="black", markersize=2, alpha=0.6)
            axes.annotate(short(estimate.value), (x, max(estimate.high, *values)), xytext=(0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=6)
            numbers.append({"job": job, "mode": mode, "registration": registration, "median": estimate.value,
                            "low": estimate.low, "high": estimate.high, "confidence": estimate.confidence,
                            "n": estimate.n, "runs": " ".join(f"{number:.6g}" for number in values)})
    finish(axes, plan, titled(record, job), [max(row["high"], row["median"]) for row in numbers] + [row["median"] for row in numbers])
    return numbers


def stacks(axes: Axes, record: Row, job: str) -> list[Row]:
    """IOMMU operations per I/O, stacked, their sum on top: zero is written out."""
    plan, numbers, tops = record["plan"], [], []
    looks = {"map": ("#56B4E9", ""), "unmap": ("#009E73", "//"), "flush": ("#D55E00", "..")}
    names = []
    for at, registration in enumerate(plan["registrations"]):
        for index, mode in enumerate(plan["modes"]):
            row = select(record["operations"], job=job, mode=mode, registration=registration)[0]
            (x, width), base = place(plan, index, at), 0.0
            for name, (colour, hatch) in looks.items():
                height = row[f"{name}_per_io"] or 0
                axes.bar(x, height, width, bottom=base, color=colour, hatch=hatch, edgecolor="white",
                         label=name if not at and not index else None)
                base += height
            axes.annotate(f"{base:.3g}" if base >= 0.0005 else "0", (x, base), xytext=(0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=6)
            names.append((x, registration))
            tops.append(base)
            numbers.append({key: row[key] for key in ("job", "mode", "registration", "map_per_io", "unmap_per_io",
                                                       "flush_per_io", "command_per_io", "bytes_per_command")})
    finish(axes, plan, titled(record, job), [*tops, 0.0])
    axes.set_xticks([x for x, _ in names], [name for _, name in names], rotation=90, fontsize=6)
    for index, mode in enumerate(plan["modes"]):
        axes.annotate(mode, (index, 0), xycoords=("data", "axes fraction"), xytext=(0, -32), textcoords="offset points", ha="center", va="top", fontsize=8)
    return numbers


def figure(record: Row, name: str, title: str, unit: str, draw: Any, directory: Path) -> None:
    """A panel for each job; the legend has the cell that is left over, or the foot."""
    jobs = record["plan"]["jobs"]
    columns = min(len(jobs), 3 if len(jobs) % 3 == 0 or len(jobs) < 4 else 4)
    shape = (-(-len(jobs) // columns), columns)
    height = 2.7 * shape[0] + 1.0
    drawing, grid = plt.subplots(*shape, figsize=(max(3.2 * columns, 6), height), squeeze=False)
    numbers: list[Row] = []
    for axes, job in zip(grid.flat, jobs):
        numbers += draw(axes, job)
    for axes in grid.flat[len(jobs):]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel(unit)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    left_over = len(jobs) < grid.size
    if left_over:
        grid.flat[len(jobs)].legend(handles, labels, loc="center", frameon=False)
    else:
        drawing.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    drawing.suptitle(f"{title}\n{caption(record)}", fontsize=10)
    drawing.tight_layout(rect=(0, 0 if left_over else 0.3 / height, 1, 1))
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
        found = speed.verdict(record, job, mode, "dmabuf")
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
    axes.set_yticks(range(len(keys)), [f"{titled(record, job)}, {mode}" for mode, job in keys], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda number, _: f"{number:g}"))
    axes.set_xlabel(f"ratio of IOPS in one boot, log scale; {what}")
    drawing.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False, fontsize=8)
    axes.set_title(f"What a registered dma-buf does to IOPS\n{caption(record)}", fontsize=10)
    drawing.tight_layout(rect=(0, 0.3 / drawing.get_figheight(), 1, 1))
    save(drawing, numbers, directory / "forest")


def percentiles(axes: Axes, record: Row, job: str) -> list[Row]:
    """Median over the runs of p50, p99 and p99.9; reads, where a job does both.  The scale is logarithmic: tails are long."""
    plan, numbers = record["plan"], []
    for at, registration in enumerate(plan["registrations"]):
        colour, _ = LOOK[registration]
        for index, mode in enumerate(plan["modes"]):
            rows = select(record["speed"], job=job, mode=mode, registration=registration)
            way = "read" if "read" in rows[0]["latency_ns"] else "write"
            heights = {name: float(stats.median([row["latency_ns"][way][name] for row in rows]).value) / 1000
                       for name in ("p50", "p99", "p999")}
            x, _ = place(plan, index, at)
            axes.plot([x, x], [heights["p50"], heights["p999"]], color=colour, linewidth=1.5)
            for name, mark in (("p50", MARKS[registration]), ("p99", "_"), ("p999", "2")):
                axes.plot(x, heights[name], mark, color=colour if name == "p50" else "black", markersize=6,
                          label={"p50": f"{registration}: p50", "p99": "p99", "p999": "p99.9"}[name] if not index and (name == "p50" or not at) else None)
            axes.annotate(short(heights["p50"]), (x, heights["p50"]), xytext=(0, -4), textcoords="offset points", ha="center", va="top", fontsize=6)
            numbers.append({"job": job, "mode": mode, "registration": registration, "direction": way,
                            **{f"{name}_us": value for name, value in heights.items()}, "n": len(rows)})
    axes.set_yscale("log")
    axes.set_ylim(min(row["p50_us"] for row in numbers) / 2, max(row["p999_us"] for row in numbers) * 1.3)
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.minorticks_off()
    axes.set_title(titled(record, job), fontsize=9)
    axes.set_xlim(-0.6, len(plan["modes"]) - 0.4)
    axes.set_xticks(range(len(plan["modes"])), plan["modes"], fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda number, _: short(number)))
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
    """Instructions per I/O by commit; a line breaks where compiler or base changed, and steps are marked.  Few points are no history."""
    names = sorted({f"{cell['mode']} {cell['case']} {cell['registration']}" for each in records for cell in each["cells"]})
    if not names or len(records) < ENOUGH:
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


def hero(record: Row, directory: Path) -> None:
    """The claim: the more an IOMMU protects, the more an I/O of ordinary memory costs; that of a dma-buf stays where it is."""
    rows = headline.numbers(record)
    if not rows:
        return
    modes = headline.modes(record)
    panels = (("instructions per I/O", "instructions_per_io", "{:,.0f}".format), ("IOMMU operations per I/O", "operations_per_io", "{:.3g}".format),
              ("reads per second", "published_iops", published.rate))
    drawing, grid = plt.subplots(1, len(panels), figsize=(9.4, 3.7), gridspec_kw={"wspace": 0.22, "left": 0.03, "right": 0.985, "top": 0.72, "bottom": 0.2})
    for axes, (title, value, form) in zip(grid, panels):
        lines = {name: [row[value] for row in rows if row["registration"] == name] for name in headline.TITLES}
        top = max(map(max, lines.values()))
        for name, values in lines.items():
            other = lines["user" if name == "dmabuf" else "dmabuf"]
            axes.plot(range(len(modes)), values, LINES[name], marker=MARKS[name], color=LOOK[name][0], linewidth=2.4, markersize=7, clip_on=False,
                      zorder=3 if name == "dmabuf" else 2, label=headline.TITLES[name])
            for x, (number, beside) in enumerate(zip(values, other)):
                if number == beside and name == "user":
                    continue  # said once, by the other
                above = number >= beside or 0 < number < 0.15 * top  # and not on the line at 0
                axes.annotate(form(number), (x, number), xytext=(0, 8 if above else -8), textcoords="offset points", ha="center",
                              va="bottom" if above else "top", fontsize=9, color=INK[name] if number != beside else "black", fontweight="bold")
        axes.set_ylim(-0.16 * top, 1.2 * top)
        axes.set_xlim(-0.3, len(modes) - 0.7)
        axes.set_xticks(range(len(modes)), [mode.upper() for mode in modes], fontsize=8)
        axes.set_yticks([])
        axes.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=1)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(title, fontsize=10)
    grid[2].set_facecolor("#F3F3F3")
    drawing.text(0.34, 0.84, f"counted here, in an emulated machine: run {record['id']}", ha="center", fontsize=9, color="#444444")
    drawing.text(0.84, 0.84, f"published, not ours: hardware\n{published.SOURCE}", ha="center", va="center", fontsize=8, color="#444444")
    drawing.suptitle("4 KiB random reads: the more the IOMMU protects, the dearer ordinary memory; a dma-buf costs the same", fontsize=11, y=0.975)
    drawing.legend(*grid[0].get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False, fontsize=9)
    save(drawing, rows, directory / "hero")


def whiskers(record: Row, rows: str) -> str:
    """What a bar and its whiskers are."""
    named = stats.median([0.0] * len({row["round"] for row in record[rows]})).named
    return "one measurement" if named == "one" else f"median and {named}" if named.startswith("range") else f"median and interval, {named}"


def draw(record: Row, directory: Path) -> None:
    figure(record, "iops", f"IOPS by IOMMU mode and registration: {whiskers(record, 'speed')}", "IOPS",
           lambda axes, job: bars(axes, record, job, "speed", "iops"), directory)
    forest(record, directory)
    sweep(record, directory)
    figure(record, "latency", "Completion latency: median of the runs", "microseconds, emulated (log scale)",
           lambda axes, job: percentiles(axes, record, job), directory)
    if not record["cost"]:
        return
    hero(record, directory)
    figure(record, "cost", f"Guest instructions per I/O: {whiskers(record, 'cost')}",
           "instructions per I/O", lambda axes, job: bars(axes, record, job, "cost", "instructions_per_io"), directory)
    figure(record, "operations", "IOMMU operations per I/O", "operations per I/O",
           lambda axes, job: stacks(axes, record, job), directory)
