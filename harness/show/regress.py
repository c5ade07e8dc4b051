# SPDX-License-Identifier: GPL-2.0-or-later
"""A build beside a recorded one, as plain text and as what a CI shows as its summary."""

from statistics import mean
from typing import Any

from ..judge.regress import Finding, improvements, pairs
from ..measure import gate

Row = dict[str, Any]


def lines(base: Row, new: Row) -> list[tuple[str, str, str, str]]:
    """Cell, before, after, change."""
    return [(gate.name_of(after), f"{mean(before['rounds']):,.1f}", f"{mean(after['rounds']):,.1f}",
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
                      *(f"REGRESSION: {finding}" for finding in found), *(f"less: {finding}" for finding in improvements(base, new)), verdict(found, len(rows))]) + "\n"


def markdown(base: Row, new: Row, found: list[Finding]) -> str:
    """What a CI shows as its summary."""
    rows = lines(base, new)
    return "\n".join([f"### {verdict(found, len(rows))}", "", heading(base, new), "",
                      "| cell | before | after | change |", "|---|--:|--:|--:|",
                      *(f"| {' | '.join(row)} |" for row in rows), "",
                      *(f"```\n{finding}\n```" for finding in found),
                      *(f"```\nless: {finding}\n```" for finding in improvements(base, new))]) + "\n"


def forget() -> None:
    """An earlier verdict is not this one's."""
    for name in ("regress.txt", "summary.md", "record.json", "report.html", "history.svg", "history.png", "history.csv"):
        (gate.PLACE / name).unlink(missing_ok=True)


def no_verdict(why: str) -> None:
    gate.PLACE.mkdir(parents=True, exist_ok=True)
    (gate.PLACE / "summary.md").write_text(f"### no verdict\n\n```\n{why}\n```\n")
