# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of a record, by what they are of."""

from collections.abc import Iterable
from statistics import mean
from typing import Any


def select(rows: Iterable[dict[str, Any]], **where: str) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def titled(record: dict[str, Any], job: str) -> str:
    """A job with the kind of its memory, where that was chosen."""
    kind = {"scattered": ", scattered pages", "2m": ", 2 MiB pages"}.get(record["plan"]["memory"][job], "")
    return job.removesuffix("-huge") + kind


def average(rows: Iterable[dict[str, Any]], value: str, **where: str) -> float | None:
    """Of the rounds of one cell; None if it was not measured."""
    found = [row[value] for row in select(rows, **where)]
    return mean(found) if found else None
