# SPDX-License-Identifier: GPL-2.0-or-later
"""What the series does to those who do not use it.

Their code with the feature compiled out, the sizes of structures, and the instructions of an ordinary I/O.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .. import progress
from ..build import products, sources
from ..fault import Fault
from ..paths import BUILD, CACHE
from . import cost

PLACES = ("block/", "io_uring/", "lib/iov_iter.o", "drivers/nvme/", "drivers/dma-buf/")
STRUCTURES = ("bio", "bvec_iter", "iov_iter", "request", "request_queue", "queue_limits", "kiocb", "io_kiocb", "io_rsrc_node",
              "io_mapped_ubuf")
# A common symbol for each, as large as it; the headers of io_uring are its own.
PROBE = """\
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/io_uring_types.h>
#include <linux/uio.h>
#include "io_uring/rsrc.h"
""" + "".join(f"char size_of_{name}[sizeof(struct {name})];\n" for name in STRUCTURES)
# Reads of a null disk that know nothing of dma-bufs.
ORDINARY = (
    ("READ", cost.Case("read-4k", "--bs 4k", 10000), "none"),
    ("READ_FIXED", cost.Case("read-4k", "--bs 4k", 10000), "user"),
    ("libaio", cost.Case("aio-4k", "--bs 4k --through aio", 10000), "none"),
    ("buffered", cost.Case("buffered-4k", "--bs 4k --through buffered", 10000), "none"),
)
ROUNDS = 2
CONSTANT = re.compile(r"0x[0-9a-f]+")


@dataclass(frozen=True)
class Kind:
    name: str
    patched: bool
    fragments: tuple[str, ...]
    more: str = ""


BASE = Kind("base", False, ("base.config",))
WITHOUT = Kind("without", True, ("base.config",), "CONFIG_DMA_BUF_IO=n\n")
WITH = Kind("with", True, ("base.config",), "CONFIG_DMA_BUF_IO=y\n")


def compile_some(source: sources.Source, kind: Kind) -> Path:
    """The objects that the series touches, and the probe."""
    tree = products.kernel_tree(source) if kind.patched else source.tree
    objects = CACHE / "obj" / f"harmless-{kind.name}-{source.place}"
    make = ["make", "-C", str(tree), f"O={objects}", "CC=ccache gcc", f"-j{os.cpu_count()}"]
    objects.mkdir(parents=True, exist_ok=True)
    sources.used(objects)
    products.configure(make, tree, objects, products.requested(kind.fragments) + kind.more)
    progress.run(f"compiling, {kind.name}", [*make, "prepare", *PLACES], CACHE / "log/harmless", count=r"^  (CC|AS) ",
                 total=330, env=products.REPRODUCIBLE)
    probe = objects / "probe"
    probe.mkdir(exist_ok=True)
    (probe / "Kbuild").write_text("obj-m := sizes.o\nccflags-y := -I$(srctree) -fcommon\n")
    (probe / "sizes.c").write_text(PROBE)
    progress.run("the sizes", [*make, f"M={probe}", "sizes.o"], CACHE / "log/harmless", env=products.REPRODUCIBLE)
    return objects


def sizes(objects: Path) -> dict[str, int]:
    lines = products.text("nm", "-S", str(objects / "probe/sizes.o")).splitlines()
    return {found[2]: int(found[1], 16) for line in lines
            if (found := re.search(r"([0-9a-f]{16}) [BCbD] size_of_(\w+)", line))}


def functions(path: Path) -> dict[str, list[str]]:
    """Disassembly and relocations, without addresses, by function."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in products.text("objdump", "-dr", "--no-addresses", "--no-show-raw-insn", str(path)).splitlines():
        if head := re.fullmatch(r"<(.+)>:", line):
            name = head[1]
            found[name] = []
        elif name and line.strip():
            found[name].append(line.strip())
    return found


def objects_of(directory: Path) -> Iterator[Path]:
    for place in PLACES:
        paths = [directory / place] if place.endswith(".o") else sorted((directory / place).rglob("*.o"))
        yield from (path.relative_to(directory) for path in paths)


def without_constants(lines: list[str]) -> list[str]:
    return [CONSTANT.sub("N", line) for line in lines]


def compare(before: Path, after: Path) -> list[str]:
    """A line for each object whose code is not the same."""
    text: list[str] = []
    total = same = 0
    names = sorted(set(objects_of(before)) | set(objects_of(after)))
    for name in names:
        if not ((before / name).exists() and (after / name).exists()):
            text.append(f"  {name}: only {'before' if (before / name).exists() else 'after'}")
            continue
        old, new = functions(before / name), functions(after / name)
        total += len(new)
        changed = [each for each in sorted(set(old) | set(new)) if old.get(each) != new.get(each)]
        same += len(new) - sum(1 for each in changed if each in new)
        offsets = [each for each in changed if each in old and each in new
                   and without_constants(old[each]) == without_constants(new[each])]
        others = [f"{each} {len(new.get(each, [])) - len(old.get(each, [])):+d}" for each in changed if each not in offsets]
        if changed:
            text.append(f"  {name}: {len(offsets)} functions with other constants"
                        + (f"; other instructions: {', '.join(others)}" if others else ""))
    return [f"{same} of {total} functions in {len(names)} objects are the same, instruction by instruction"] + text


def costs(kernel: Path, mode: str) -> list[list[float]]:
    """Instructions per I/O of each of ORDINARY, in every round."""
    todo = [(case, registration, number) for number in range(ROUNDS) for _, case, registration in ORDINARY]
    keep = BUILD / "harmless" / f"{mode}-{kernel.name}"
    found = [each["instructions_per_io"] for each in cost.boot(kernel, mode, todo, keep)]
    return [found[index::len(ORDINARY)] for index in range(len(ORDINARY))]


def ordinary(base: Path, ours: Path, mode: str) -> Iterator[str]:
    """Median of the rounds; the band is how far the rounds of one kernel are apart."""
    for (name, _, _), before, after in zip(ORDINARY, costs(base, mode), costs(ours, mode)):
        old, new = median(before), median(after)
        band = max(max(each) / min(each) - 1 for each in (before, after))
        yield f"{name:<12}{mode:<13}{old:10,.1f}{new:10,.1f}{new - old:+9.1f}{new / old - 1:+9.2%}{band:9.2%}"


def report(named: str, fio: str, modes: tuple[str, ...]) -> Iterator[str]:
    """Lines, each once it is known."""
    if subprocess.run(["objdump", "--version"], capture_output=True).returncode:
        raise Fault("there is no objdump: run `make deps`")
    source = sources.kernel(named)
    with products.lock("kernel"):
        made = {kind.name: compile_some(source, kind) for kind in (BASE, WITHOUT, WITH)}
    yield "\nCode with CONFIG_DMA_BUF_IO=n, against the unpatched base:"
    yield from compare(made["base"], made["without"])
    yield f"\n{'bytes of a structure':<24}" + "".join(f"{name:>10}" for name in made)
    found = {name: sizes(directory) for name, directory in made.items()}
    for structure in STRUCTURES:
        yield f"{structure:<24}" + "".join(f"{found[name].get(structure, 0):>10}" for name in made)
    products.engine(fio)
    base, ours = products.kernel(named, "unpatched"), products.kernel(named)
    yield f"\n{'4 KiB reads':<12}{'':<13}{'base':>10}{'this':>10}{'more':>9}{'':>9}{'band':>9}   (instructions per I/O)"
    for mode in modes:
        yield from ordinary(base, ours, mode)
