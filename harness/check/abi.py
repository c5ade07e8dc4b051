# SPDX-License-Identifier: GPL-2.0-or-later
"""Each engine in each fio: it runs in the one that it was built for and is refused by all others."""

import os
import subprocess
import tempfile
from pathlib import Path

from .. import progress
from ..build import sources
from ..build.products import fio
from ..fault import Fault
from ..paths import CACHE, ROOT

JOB = ("--name=job", "--filename=f", "--size=256k", "--rw=randrw", "--bs=4k", "--iodepth=8", "--registration=user",
       "--verify=crc32c", "--verify_fatal=1")


def build(tree: Path, out: Path) -> Path:
    make = ["make", f"-j{os.cpu_count()}", "-C", str(ROOT / "engines"), f"FIO_SRC={tree}"]
    fio(tree)
    out.mkdir()
    progress.run(f"building the engine for {tree.name}", [*make, f"O={out}"], CACHE / "log/abi")
    return out / "dmabuf.so"


def cell(tree: Path, engine: Path, place: Path) -> str:
    """What came of one pair: "runs", "refused", or what went wrong."""
    done = subprocess.run([tree / "fio", f"--ioengine=external:{engine}", *JOB], capture_output=True, text=True,
                          cwd=place, timeout=60)
    if done.returncode == 0 and "registrations=8" in done.stderr:
        return "runs"
    if done.returncode > 0 and f"dmabuf: this engine was built for {engine.parent.name} and this is {tree.name}" in done.stderr:
        return "refused"
    return f"status {done.returncode}: {done.stderr.strip()[-300:]}"


def check() -> int:
    """A matrix on stdout; 1 if a pair is not as it must be."""
    trees = []
    for version, suite in sources.FIO_SUITES.items():
        try:
            trees.append(sources.fio_release(version, suite))
        except Fault as fault:
            print(f"skipped: fio {version} of {suite}: {str(fault).splitlines()[:2][-1]}")
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        engines = {tree: build(tree, place / tree.name) for tree in trees}
        print("engine for \\ in", *(tree.name for tree in trees))
        for made_for, engine in engines.items():
            row = [cell(tree, engine, place) for tree in trees]
            print(made_for.name, *row)
            bad += sum(said != ("runs" if tree == made_for else "refused") for tree, said in zip(trees, row))
    print(f"{len(trees) ** 2 - bad} of {len(trees) ** 2} pairs as they must be")
    return 1 if bad or not trees else 0
