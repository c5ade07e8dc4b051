# SPDX-License-Identifier: GPL-2.0-or-later
"""What an I/O costs when several processors do I/O at once, and which cache lines they share for it.

Each processor has a ring of its own and a queue of the disk; all rings have one dma-buf registered, or one memory.
"""

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import progress
from ..build import products
from ..fault import Fault
from ..machine import guest
from ..machine.modes import MODES
from ..paths import BUILD
from . import attribution

PROCESSORS = (1, 2, 4)
REGISTRATIONS = ("user", "dmabuf")
COUNT = 2000  # I/Os of each processor
TOP = 8


@dataclass(frozen=True)
class Sharing:
    """Between the two marks."""

    instructions: int  # of all processors
    moves: Counter[str]  # of lines from one processor's cache to another's, at most, by the functions that touch them
    lines: int  # that are shared


def sharing(text: str, system_map: str) -> Sharing:
    """What the plugin wrote (harness/qemu/sharing.c).

    A line moves at most as often as it is touched; twice for each touch by another than its main user, there and back; and
    once for each write and each of its users.
    """
    place = attribution.places(system_map)
    instructions = 0
    users: dict[str, Counter[str]] = defaultdict(Counter)
    functions: dict[str, Counter[str]] = defaultdict(Counter)
    writes: Counter[str] = Counter()
    for words in map(str.split, text.splitlines()):
        if words[0] == "instructions":
            instructions += int(words[2])
            continue
        address, cpu, line, read, written = words
        users[line][cpu] += int(read) + int(written)
        functions[line][place(int(address, 16))[0]] += int(read) + int(written)
        writes[line] += int(written)
    moves: Counter[str] = Counter()
    for line, by in users.items():
        total = by.total()
        most = min(total, 2 * (total - max(by.values())), writes[line] * len(by))
        for name, touches in functions[line].items():
            moves[name] += most * touches / total
    return Sharing(instructions, moves, len(users))


def boot(kernel: Path, mode: str, keep: Path) -> dict[tuple[str, int], tuple[int, Sharing]]:
    """By registration and number of processors: I/Os, and what they shared."""
    cells = [(registration, number) for registration in REGISTRATIONS for number in PROCESSORS]
    lines = [f"/bin/iocost --registration {registration} --processors {number} --count {COUNT} $NULLDEV $DEV || exit 1"
             for registration, number in cells]
    with tempfile.TemporaryDirectory(prefix="dmabuf-scaling-") as scratch:
        prefix = Path(scratch) / "window"
        spec = guest.Spec(kernel=kernel, mode=MODES[mode], command="\n".join(lines), cpus=max(PROCESSORS), timeout=1200,
                          qemu_extra=f"-plugin file={BUILD / 'sharing.so'},out={prefix}")
        keep.mkdir(parents=True, exist_ok=True)
        with (keep / "out.txt").open("wb") as out:
            status = guest.boot(spec, out, keep).status
        said = (keep / "out.txt").read_text(errors="replace")
        results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        if status or len(results) != len(cells):
            raise Fault(f"scaling: {mode}: {guest.tail(said, 3)}\n(all of it in {keep})")
        symbols = attribution.system_map(kernel)
        return {cell: (result["ios"], sharing(Path(f"{prefix}.{index}").read_text(), symbols))
                for index, (cell, result) in enumerate(zip(cells, results))}


def table(mode: str, found: dict[tuple[str, int], tuple[int, Sharing]]) -> Iterator[str]:
    for (registration, number), (ios, got) in found.items():
        yield f"{mode:<13}{registration:<8}{number:>10}{got.instructions / ios:14,.0f}{got.moves.total() / ios:10.2f}{got.lines:>9}"


def where(mode: str, found: dict[tuple[str, int], tuple[int, Sharing]]) -> Iterator[str]:
    """The functions that touch what moves, of the most processors."""
    for registration in REGISTRATIONS:
        ios, got = found[registration, max(PROCESSORS)]
        yield f" {mode}, {registration}: " + ", ".join(f"{name} {moves / ios:.2f}" for name, moves in got.moves.most_common(TOP))


def report(named: str, fio: str, modes: tuple[str, ...]) -> Iterator[str]:
    """Lines, each once it is known."""
    kernel = products.kernel(named)
    products.engine(fio)
    found = {}
    yield "4 KiB reads of a null disk, each processor 128 deep; per I/O, of all that the guest executes"
    yield f"{'':<21}{'processors':>10}{'instructions':>14}{'moves':>10}{'shared':>9}   (cache lines: moves at most, and how many)"
    for mode in modes:
        progress.say(f"scaling: {mode} ...")
        found[mode] = boot(kernel, mode, BUILD / "scaling" / mode)
        yield from table(mode, found[mode])
    yield f"\nMoves of cache lines per I/O, at most, with {max(PROCESSORS)} processors, by function"
    for mode in modes:
        yield from where(mode, found[mode])
