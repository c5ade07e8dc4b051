# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of commits, in results/history."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..fault import Fault
from ..paths import HISTORY
from . import provenance, schema, store

Row = dict[str, Any]


def in_order(records: Iterable[Row]) -> list[Row]:
    """Oldest first."""
    return sorted(records, key=lambda each: str(each["commit_date"]))


def known() -> list[Row]:
    """All records; which one is the newest is not known if one is broken."""
    return in_order(store.load(path, schema.OF_HISTORY) for path in HISTORY.glob("*.json"))


def shown() -> list[Row]:
    """Those that a figure can be drawn of."""
    return in_order(store.others(HISTORY.glob("*.json"), schema.OF_HISTORY).values())


def nearest(records: list[Row]) -> Row:
    """Of the closest ancestor of this commit that has one; the newest, if git knows none of them (a shallow clone)."""
    order = {commit: place for place, commit in enumerate(provenance.git("rev-list", "--topo-order", "HEAD").split())}
    mine = [each for each in records if each["commit"] in order]
    return min(mine, key=lambda each: order[each["commit"]]) if mine else records[-1]


def find(base: str) -> Row:
    """A record by path, by commit, or of the nearest ancestor."""
    if base and Path(base).exists():
        return store.load(store.find(base, schema.OF_HISTORY), schema.OF_HISTORY)
    records = shown() if base else known()
    if not records:
        raise Fault("results/history is empty: `make baseline` makes a record of this commit")
    if not base:
        return nearest(records)
    commit = provenance.commit_of(base)
    for each in records:
        if each["commit"] == commit or (re.fullmatch("[0-9a-f]{7,}", base) and each["commit"].startswith(base)):
            return each
    raise Fault(f"results/history has no record of {base}: check it out and run `make baseline`, or choose one of "
                f"{' '.join(each['commit'][:12] for each in records)}")
