# SPDX-License-Identifier: GPL-2.0-or-later
"""One HTML file for a run: claims and the figure of the claim first, then tables, figures, conditions.  It needs nothing beside it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..judge.claims import claims
from ..judge.goals import goals
from ..judge.regress import Finding, improvements
from ..paths import RESULTS
from ..record import schema, store
from . import published, table, tables

Row = dict[str, Any]
FIGURES = (
    ("forest", "Is a difference more than noise?", "The grey band is user over user: what two measurements of the same thing differ by."),
    ("cost", "Instructions per I/O, through fio", "fio's own are in it."),
    ("operations", "IOMMU operations per I/O", "Tracepoints; these carry over to hardware."),
    ("subsystems", "Where the instructions of an I/O are", "Every one is counted; the bars add up to what the instruction clock says."),
    ("curves", "Exact cost against block size, depth and registered size", "The ribbon spans the rounds; where there is none, it is too narrow to see."),
    ("sweep", "IOPS against block size and queue depth", "The ribbon is the interval of the median."),
    ("iops", "IOPS by mode and registration", "Every boot is a dot. An emulated machine's: they rank the rows of one mode at best."),
    ("latency", "Completion latency", "With 128 in flight, so mostly waiting in the queue; of the emulated machine."),
    ("history", "Cost of recorded commits", "One point a commit that has a record in results/history."),
)
BY = {"subsystems": "make cost", "curves": "make cost", "sweep": "make bench BENCH=sweep", "history": "make regress"}
NOT_SHOWN = (
    "Hardware. QEMU interprets every instruction, and the NVMe device is a program on the same processor.",
    "The time of an instruction: a cache miss, a contended lock and the wait for an IOTLB invalidation count as one or as nothing.",
    "More than one processor, for cost: the instruction clock has one.",
    "Reads and writes through a file system, multipath heads, and other IOMMUs than those in the conditions.",
)
ENVIRONMENT = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
                                 trim_blocks=True, keep_trailing_newline=True)


@dataclass(frozen=True)
class Claim:
    text: str
    verdict: str
    look: str  # good, bad or none


@dataclass(frozen=True)
class Section:
    anchor: str
    run: str
    table: tables.Table


@dataclass(frozen=True)
class Figure:
    name: str
    title: str
    words: str
    run: str
    svg: Markup


def inline(svg: str, prefix: str) -> Markup:
    """An SVG as part of a page: no prologue, and no name that another figure may have too."""
    body = svg[svg.index("<svg"):]
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    return Markup(re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", body))


def flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """A record's leaves, each with its path."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flat(each, f"{name}.{key}" if name else key)
    elif value is not None:
        yield name, str(value)


def details(result: Row) -> list[tuple[str, str]]:
    plan = {key: value for key, value in result.get("plan", {}).items() if not isinstance(value, dict)}
    return [*flat(result["made_of"]), *flat(result["circumstances"]), *flat(plan)]


def conditions(result: Row) -> list[str]:
    """Three lines: what was measured, how, and where."""
    made, where = result["made_of"]["kernel"], result["circumstances"]
    lines = [", ".join(filter(None, [f"Linux {made['release'].split()[0]}" if "release" in made else "", f"fio {result['made_of']['fio']['version']}" if "fio" in result["made_of"] else "",
                                     where["qemu"].split(" (")[0]]))]
    if "speed" in result:
        plan = result["plan"]
        lines[0] += f", {'/'.join(result['accel']).upper()}; {table.machine(result)}"
        lines.append(f"{len(plan['jobs'])} jobs, {', '.join(plan['registrations'])}; {plan['rounds']} boots of each mode by the wall clock, {plan['cost_rounds']} counts of each cell; "
                     "data verified before anything was measured")
    else:
        lines.append("every instruction of the guest counted, on one processor; every path verified before it was measured")
    commit = result.get("commit") or where.get("git_commit")
    lines.append(", ".join(filter(None, [where["date"][:10], f"commit {commit[:12]}{' and changes' if where.get('git_dirty') else ''}" if commit else "",
                                         f"{where['host_cpus']} processors of {where['host_cpu']}" if "host_cpu" in where else ""]))
                 + ". Counts carry over to hardware, times of an emulated machine do not.")
    return lines


def claimed(results: dict[Path, Row], gate: tuple[Row, Row, list[Finding]] | None) -> Iterator[Claim]:
    """Pass or fail, of all that is shown."""
    if gate:
        base, new, found = gate
        for finding in found:
            yield Claim(str(finding).partition("\n")[0], "FAILS", "bad")
        for finding in improvements(base, new):
            yield Claim(f"less: {str(finding).partition(chr(10))[0]}", "less", "good")
        if not found:
            yield Claim(f"no cell costs more than at {base['commit'][:12]} ({base['subject']})", "holds", "good")
    for result in results.values():
        if "speed" in result:
            for claim in claims(result):
                yield Claim(claim.text, "holds" if claim.holds else "FAILS", "good" if claim.holds else "bad")
        elif "rows" in result:
            known = [goal for goal in goals(result) if goal.value is not None]
            for goal in known:
                if goal.verdict != "met":
                    yield Claim(f"goal: {goal.text}: {goal.value:.3f}, to be {goal.low:g} to {goal.high:g}", "FAILS", "bad")
            if met := sum(goal.verdict == "met" for goal in known):
                yield Claim(f"{met} of {len(known)} goals of cost are met (run {result['id']})", "holds" if met == len(known) else "FAILS", "good" if met == len(known) else "bad")


def summary(found: list[Claim]) -> Claim:
    failed = sum(claim.look == "bad" for claim in found)
    if not found:
        return Claim("this run makes no claim: it has speed alone", "-", "none")
    return Claim(f"{failed} of {len(found)} claims fail" if failed else f"{len(found)} of {len(found)} claims hold", "FAIL" if failed else "PASS", "bad" if failed else "good")


def sections(results: dict[Path, Row], gate: tuple[Row, Row, list[Finding]] | None) -> Iterator[Section]:
    """One bench and one cost; of a gate, what it compared and where a regression is."""
    if gate:
        base, new, found = gate
        yield Section("compared", new["commit"][:12], tables.compared(base, new))
        for number, finding in enumerate(found, 1):
            if finding.moved:
                yield Section(f"moved-{number}", new["commit"][:12], tables.Table(f"What moved: {finding.cell}", ("function", "instructions per I/O"),
                              [(name, f"{change:+,.1f}") for name, change in finding.moved], words=1))
    for kind, builders in (("speed", (("table-cost", tables.cost), ("table-operations", tables.operations), ("table-speed", tables.speed))),
                           ("rows", (("table-cases", tables.cases), ("table-goals", tables.aims), ("table-counts", tables.counts)))):
        path, result = next(((path, result) for path, result in results.items() if kind in result), (None, None))
        if path is None or result is None:
            continue
        for anchor, build in builders:
            found_table = build(result)
            if found_table.rows and not (build is tables.cost and not result["cost"]):
                yield Section(anchor, path.parent.name, found_table)
        if kind == "rows":
            for number, each in enumerate(tables.functions(result), 1):
                yield Section(f"table-functions-{number}", path.parent.name, each)


def figures(directories: list[Path]) -> tuple[list[Figure], list[str]]:
    """Those that there are, from the first directory that has each; and why there are not the others."""
    found, absent = [], []
    for name, title, words in FIGURES:
        place = next((each / f"{name}.svg" for each in directories if (each / f"{name}.svg").exists()), None)
        if place is None:
            absent.append(f"{title}: no `{BY.get(name, 'make bench')}` of this kernel stands beside this run.")
        else:
            found.append(Figure(name, title, words, place.parent.name, inline(place.read_text(), name)))
    return found, absent


def headline(directories: list[Path]) -> Figure | None:
    place = next((each / "hero.svg" for each in directories if (each / "hero.svg").exists()), None)
    if place is None:
        return None
    return Figure("hero", "The claim", f"Left: counted here, numbers in hero.csv. Right: published by others ({published.SOURCE}; {published.MACHINE}).",
                  place.parent.name, inline(place.read_text(), "hero"))


def page(directories: list[Path], gate: tuple[Row, Row, list[Finding]] | None = None) -> str:
    results = store.others(directory / kind.file for directory in directories for kind in schema.KINDS if (directory / kind.file).exists())
    drawn, absent = figures(directories)
    first = headline(directories)
    told, told_claims = list(sections(results, gate)), list(claimed(results, gate))
    links = [("claims", "Claims"), *((each.anchor, each.table.title) for each in told if not each.anchor.startswith(("table-functions", "moved"))),
             *((f"figure-{each.name}", each.title) for each in drawn), ("details", "Conditions"), ("missing", "Not shown")]
    return ENVIRONMENT.get_template("report.html").render(
        title=f"What registered dma-bufs win: {directories[0].name}", links=links,
        sum=summary(told_claims), claims=told_claims, hero=first,
        conditions=conditions(next(iter(results.values()))) if results else [], tables=told, figures=drawn,
        details=[{"run": f"{path.parent.name}/{path.name}", "rows": details(result)} for path, result in results.items()], missing=[*NOT_SHOWN, *absent])


def companions(directory: Path) -> list[Path]:
    """Other finished runs of the same kernel, the newest of each kind: cost beside IOPS, a sweep beside both."""
    def kernel(result: Row) -> Any:
        return result["made_of"]["kernel"].get("bzimage_sha256") or result["made_of"]["kernel"]  # of a host's own

    kinds = (schema.OF_BENCH, schema.OF_COST)
    own = next((directory / kind.file for kind in kinds if (directory / kind.file).exists()), None)
    if own is None:
        return []
    mine = kernel(store.load(own, *kinds))
    known = store.others((path for kind in kinds for path in RESULTS.glob(f"*/{kind.file}")
                           if path.parent.resolve() != directory.resolve()), *kinds)
    like = [path for path, result in known.items() if kernel(result) == mine]
    return [path.parent for path in sorted(like, key=lambda path: path.stat().st_mtime, reverse=True)]


def write(directory: Path, gate: tuple[Row, Row, list[Finding]] | None = None) -> Path:
    """report.html of a run, or of a gate; what it lacks is taken from the companions."""
    place = directory / "report.html"
    place.write_text(page([directory, *companions(directory)], gate))
    return place
