# SPDX-License-Identifier: GPL-2.0-or-later
"""Records as files: written in one step, read as a whole one of a known kind or not at all."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..fault import Fault
from . import schema


def write(path: Path, value: Any) -> None:
    """In one step, so that a file that exists is whole."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value, indent=1) + "\n")
    fresh.replace(path)


def read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Fault(f"{path} cannot be read as JSON: {getattr(error, 'strerror', '') or error}") from error


def load(path: Path, *kinds: schema.Kind) -> dict[str, Any]:
    """A whole record of one of these kinds (any, if none is named), or a sentence."""
    found = read(path)
    kind = next((kind for kind in kinds or schema.KINDS if isinstance(found, dict) and kind.key in found), None)
    if not kind:
        raise Fault(f"{path} is no record: name a file of results/history, or the directory of a finished bench, cost or regress")
    found = schema.upgraded(found, kind)
    if found.get("schema") != kind.schema:
        raise Fault(f"{path} has schema {found.get('schema')}, and this harness reads {kind.schema}: measure again, or use the harness that wrote it")
    if lacks := list(schema.lacking(found, kind.shape)) or list(schema.gaps(found, kind)):
        more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
        raise Fault(f"{path} is not whole, it lacks {', '.join(lacks[:3])}{more}: remove it, or measure again")
    whole: dict[str, Any] = found
    return whole


def find(name: str, *kinds: schema.Kind) -> Path:
    """The record named, itself or by the directory that it is in."""
    path = Path(name)
    found = next((path / kind.file for kind in kinds or schema.KINDS if (path / kind.file).exists()), path)
    if not found.is_file():
        raise Fault(f"{name} is no record: name a file of results/history, or the directory of a finished bench, cost or regress")
    return found


def others(paths: Iterable[Path], *kinds: schema.Kind) -> dict[Path, dict[str, Any]]:
    """What is only shown beside something else: one that is broken is said and left out."""
    found = {}
    for path in paths:
        try:
            found[path] = load(path, *kinds)
        except Fault as fault:
            print(f"harness: left out: {fault}", file=sys.stderr)
    return found
