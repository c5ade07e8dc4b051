# SPDX-License-Identifier: GPL-2.0-or-later
"""One HTML file for a run: tables, figures, conditions, and what is not shown.  It needs nothing beside it."""

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..paths import RESULTS
from ..record import schema, store
from . import projection

Row = dict[str, Any]
TEXTS = (("table.txt", "IOPS, cost and operations"), ("regress.txt", "Against the recorded commit"),
         ("cost.txt", "Exact cost per I/O"))
FIGURES = (
    ("iops", "IOPS by mode and registration", "Every run is a dot. An emulated machine's: they rank the rows of one mode at best."),
    ("forest", "Is a difference more than noise?", "The grey band is user over user: what two measurements of the same thing differ by."),
    ("latency", "Completion latency", "With 128 in flight, so mostly waiting in the queue; of the emulated machine."),
    ("sweep", "IOPS against block size and queue depth", "The ribbon is the interval of the median."),
    ("cost", "Instructions per I/O, through fio", "fio's own are in it."),
    ("subsystems", "Where the instructions of an I/O are", "Every one is counted; the bars add up to what the instruction clock says."),
    ("curves", "Exact cost against block size, depth and registered size", "The ribbon spans the rounds; where there is none, it is too narrow to see."),
    ("operations", "IOMMU operations per I/O", "Tracepoints; these carry over to hardware."),
    ("history", "History", "One point a commit that has a record in results/history."),
)
NOT_SHOWN = (
    "Hardware. QEMU interprets every instruction, and the NVMe device is a program on the same processor.",
    "The time of an instruction: a cache miss, a contended lock and the wait for an IOTLB invalidation count as one or as nothing.",
    "More than one processor, for cost: the instruction clock has one.",
    "Reads and writes through a file system, multipath heads, and other IOMMUs than those in the conditions.",
)
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em;color:#111;background:#fff}
h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #999}
pre{font:12px/1.35 ui-monospace,monospace;overflow-x:auto;background:#f4f4f4;padding:.8em}
table{border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.15em 1em .15em 0;font-size:13px}
figure{margin:1em 0}svg{max-width:100%;height:auto}figcaption{color:#444;font-size:13px}"""


def inline(svg: str, prefix: str) -> str:
    """An SVG as part of a page: no prologue, and no name that another figure may have too."""
    body = svg[svg.index("<svg"):]
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    return re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", body)


def flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """A record's leaves, each with its path."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flat(each, f"{name}.{key}" if name else key)
    elif value is not None:
        yield name, str(value)


def conditions(result: Row) -> str:
    plan = {key: value for key, value in result.get("plan", {}).items() if not isinstance(value, dict)}
    rows = [*flat(result["made_of"]), *flat(result["circumstances"]), *flat(plan)]
    return "<table>" + "".join(f"<tr><th>{html.escape(name)}<td>{html.escape(value)}" for name, value in rows) + "</table>"


def section(title: str, body: str) -> str:
    return f"<h2>{html.escape(title)}</h2>\n{body}\n" if body else ""


def pre(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def figures(directories: list[Path]) -> tuple[str, list[str]]:
    """Those that there are, from the first directory that has each; and the titles of those that there are not."""
    found, absent = "", []
    for name, title, words in FIGURES:
        place = next((each / f"{name}.svg" for each in directories if (each / f"{name}.svg").exists()), None)
        if place is None:
            absent.append(title)
            continue
        found += section(title, f"<figure>{inline(place.read_text(), name)}<figcaption>{html.escape(words)} "
                                f"From {html.escape(place.parent.name)}; numbers in {name}.csv.</figcaption></figure>")
    return found, absent


def page(directories: list[Path]) -> str:
    results = store.others(directory / kind.file for directory in directories for kind in schema.KINDS
                            if (directory / kind.file).exists())
    title = f"What registered dma-bufs win: {directories[0].name}"
    drawn, absent = figures(directories)
    body = ""
    for name, words in TEXTS:
        if place := next((each / name for each in directories if (each / name).exists()), None):
            body += section(f"{words} ({place.parent.name})", pre(place.read_text()))
    costs = [result for path, result in results.items() if path.name == "cost.json"]
    body += drawn + "".join(section("A projection to hardware", pre(projection.text(each, projection.Price()))) for each in costs[:1])
    body += "".join(section(f"Conditions of {path.parent.name}/{path.name}", conditions(result)) for path, result in results.items())
    missing = [*NOT_SHOWN, *(f"{each}: not measured for this report." for each in absent)]
    body += section("What is not shown", "<ul>" + "".join(f"<li>{html.escape(each)}" for each in missing) + "</ul>")
    return (f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n'
            f"<h1>{html.escape(title)}</h1>\n{body}</html>\n")


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


def write(directory: Path) -> Path:
    """report.html of a run; what it lacks is taken from the companions."""
    place = directory / "report.html"
    place.write_text(page([directory, *companions(directory)]))
    return place
