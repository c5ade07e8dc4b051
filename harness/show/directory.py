# SPDX-License-Identifier: GPL-2.0-or-later
"""All that a record is shown as, in the directory of its run: text, figures, lists and report."""

from pathlib import Path
from typing import Any

from ..judge.regress import Finding
from ..measure import gate
from ..record import history, store
from . import cost, dashboard, plot, regress, report, table

Row = dict[str, Any]


def of_bench(result: Row, place: Path) -> str:
    """Its table."""
    text = table.text(result)
    (place / "table.txt").write_text(text)
    plot.draw(result, place)
    dashboard.write(place, bigger=dashboard.of_bench(result))
    report.write(place)
    return text


def of_cost(result: Row, place: Path) -> str:
    text = cost.text(result)
    (place / "cost.txt").write_text(text)
    plot.subsystems(result, place)
    plot.curves(result, place)
    dashboard.write(place, smaller=dashboard.of_cost(result))
    report.write(place)
    return text


def of_gate(base: Row, new: Row, found: list[Finding]) -> str:
    text = regress.text(base, new, found)
    (gate.PLACE / "regress.txt").write_text(text)
    (gate.PLACE / "summary.md").write_text(regress.markdown(base, new, found))
    store.write(gate.PLACE / "record.json", new)
    dashboard.write(gate.PLACE, smaller=dashboard.of_history(new))
    plot.history([*(each for each in history.shown() if each["commit"] != new["commit"]), new], gate.PLACE)
    report.write(gate.PLACE, (base, new, found))
    return text
