# SPDX-License-Identifier: GPL-2.0-or-later
"""What one I/O costs, exactly: every instruction the guest executes, by function, mode by mode."""

import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import progress
from ..build import products, sources
from ..fault import Fault
from ..machine import filesystems, guest
from ..machine.modes import MODES
from ..paths import BUILD
from ..record import provenance, runs, schema
from . import attribution, calls, fio

HUGE_PAGES = 4200  # of 2 MiB
NS_AN_INSTRUCTION = 2  # -icount shift=1
EDGE = 2  # commands that may lie across the edges of a window
EXACT = 0.001  # how far the profile's sum may be from the instruction clock
BUFFER = "8g"  # of the cases that ask whether a place in a large buffer costs more


@dataclass(frozen=True)
class Case:
    """One stretch of I/O (harness/guest/iocost.c), for each of some registrations."""

    name: str
    arguments: str
    count: int
    registrations: tuple[str, ...] = ("user", "dmabuf")
    rounds: int = 1
    filesystem: str = ""  # whose files it goes to, on the data disk
    append: str = ""  # to the kernel's command line: boots of their own
    memory: str = "scattered"  # of fio.MEMORY: of what kind the buffer is, for every registration
    dmabuf_count: int = 0  # 0: as many; its I/Os are cheap whatever their size, and few would show each timer tick

    def ios(self, registration: str) -> int:
        return self.dmabuf_count if registration == "dmabuf" and self.dmabuf_count else self.count


FILESYSTEMS = (("ext4", ""), ("xfs", "-xfs"))  # and how their cases' names end
DEPTHS = (1, 4, 16, 32)  # below the 128 of all others
REGISTERED = ("1m", "4m", "16m", "256m")  # beside the 64m of all others
CASES = {case.name: case for case in (
    Case("read-4k", "--bs 4k", 20000, ("none", "user", "dmabuf"), 2),
    Case("write-4k", "--bs 4k --write", 20000, rounds=2),
    # Commands to /dev/ngXnY, which are neither split nor merged.
    Case("passthru-read-4k", "--bs 4k --through passthru", 20000, rounds=2),
    # The block path of a multipath head, which every namespace then has.
    Case("head-read-4k", "--bs 4k", 20000, rounds=2, append="nvme_core.multipath=Y nvme_core.multipath_always_on=Y"),
    # Files that have been written, of one extent each.
    *(Case(f"file-read-4k{suffix}", f"--bs 4k --files {filesystems.place(filesystem)}", 20000, ("none", "user", "dmabuf"), 2, filesystem)
      for filesystem, suffix in FILESYSTEMS),
    *(Case(f"file-read-1m{suffix}", f"--bs 1m --files {filesystems.place(filesystem)}", 2000, filesystem=filesystem, dmabuf_count=8000)
      for filesystem, suffix in FILESYSTEMS),
    Case("read-64k", "--bs 64k", 10000),
    Case("read-1m", "--bs 1m", 3000, dmabuf_count=10000),
    Case("write-1m", "--bs 1m --write", 3000, dmabuf_count=10000),
    # The same in memory that lies in few pieces.
    Case("read-4k-huge", "--bs 4k", 20000, memory="2m"),
    Case("read-64k-huge", "--bs 64k", 10000, memory="2m"),
    Case("read-1m-huge", "--bs 1m", 3000, memory="2m", dmabuf_count=10000),
    Case("write-1m-huge", "--bs 1m --write", 3000, memory="2m", dmabuf_count=10000),
    Case("read-4k-first", f"--bs 4k --size {BUFFER} --place first", 20000, ("dmabuf",), memory="2m"),
    Case("read-4k-last", f"--bs 4k --size {BUFFER} --place last", 20000, ("dmabuf",), memory="2m"),
    # Curves: of the block size, of the queue depth, of what is registered.
    Case("read-16k", "--bs 16k", 10000),
    Case("read-256k", "--bs 256k", 5000, dmabuf_count=10000),
    *(Case(f"read-4k-qd{depth}", f"--bs 4k --depth {depth}", 5000) for depth in DEPTHS),
    *(Case(f"register-{size}", f"--bs 4k --size {size}", 1000) for size in REGISTERED),
)}
BASE_CASE = Case("read-4k", "--bs 4k", 20000, ("user",), 2)  # what an unpatched kernel can do

Row = dict[str, Any]


def planned(cases: tuple[str, ...]) -> Iterator[tuple[Case, str, int]]:
    """Rounds outermost, so that the two of a cell are apart."""
    for number in range(2):
        for name in cases:
            for registration in CASES[name].registrations:
                if number < CASES[name].rounds:
                    yield CASES[name], registration, number + 1


def script(case: Case, registration: str) -> list[str]:
    measured = f"/bin/iocost --registration {registration} --count {case.ios(registration)} --memory {case.memory} {case.arguments}"
    if not case.filesystem:
        return [f"{measured} $NULLDEV $DEV || exit 1"]
    return [f"{filesystems.mount(case.filesystem, '$DEV')} || exit 1", f"{measured} $DEV $DEV || exit 1",
            f"umount {filesystems.place(case.filesystem)} || exit 1"]


def boots(kernel: Path, mode: str, todo: list[tuple[Case, str, int]], keep: Path) -> list[Row]:
    """As few as there can be: those whose kernels are told the same are of one boot."""
    rows: list[Row] = []
    for append in dict.fromkeys(case.append for case, _, _ in todo):
        some = [each for each in todo if each[0].append == append]
        rows += boot(kernel, mode, some, keep.with_name(f"{keep.name}-{some[0][0].name}") if append else keep)
    return rows


def boot(kernel: Path, mode: str, todo: list[tuple[Case, str, int]], keep: Path) -> list[Row]:
    """One row for each of `todo`, of one `append`: what iocost said, and instructions per I/O by function."""
    huge = any(case.memory == "2m" for case, _, _ in todo)
    lines = [f"echo {HUGE_PAGES} > /proc/sys/vm/nr_hugepages"] if huge else []
    lines += [line for case, registration, _ in todo for line in script(case, registration)]
    symbols = attribution.system_map(kernel)
    with tempfile.TemporaryDirectory(prefix="dmabuf-profile-") as scratch:
        prefix = Path(scratch) / "window"
        spec = guest.Spec(kernel=kernel, mode=MODES[mode], command="\n".join(lines), icount=True,
                          files=filesystems.makers(case.filesystem for case, _, _ in todo if case.filesystem),
                          memory="13G" if huge else "2G",
                          # Never halted, the clock shows every instruction and nothing else.
                          append=f"idle=poll udmabuf.size_limit_mb=16384 {todo[0][0].append}", timeout=300 + 120 * len(todo),
                          qemu_extra=f"-plugin file={BUILD / 'profile.so'},out={prefix}{attribution.plugin_arguments(symbols)}")
        keep.mkdir(parents=True, exist_ok=True)
        with (keep / "out.txt").open("wb") as out:
            status = guest.boot(spec, out, keep).status
        said = (keep / "out.txt").read_text(errors="replace")
        if status:
            raise Fault(f"cost: {mode}: {guest.tail(said, 3)}\n(all of it in {keep})")
        results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        if len(results) != len(todo):
            raise Fault(f"cost: {mode}: {len(todo)} cells, but {len(results)} results in {keep}")
        return [row(mode, case, registration, number, result,
                    attribution.window(Path(f"{prefix}.{index}").read_text(), symbols))
                for index, ((case, registration, number), result) in enumerate(zip(todo, results))]


def row(mode: str, case: Case, registration: str, number: int, result: Row, window: attribution.Window) -> Row:
    """The profile of a cell, if it is whole: it must agree with the guest's clock and with the disk's count of requests."""
    ios, executed, clock = result["ios"], sum(window.functions.values()), result["window_ns"] / NS_AN_INSTRUCTION
    where = f"cost: {mode} {case.name} {registration}"
    if why := fio.other_memory(case.memory, result["pages"], result["runs"]):
        raise Fault(f"{where}: {why}")
    if abs(executed / clock - 1) > EXACT:
        raise Fault(f"{where}: the profile adds up to {executed:,} instructions, the guest's clock to {clock:,.0f}")
    counts = calls.count(window, ios, result["eagain"])
    commands = result["commands"] / ios
    # Readahead may begin a command before the window that ends in it, or the other way round.
    if counts["command"] is not None and abs(counts["command"] - commands) * ios > max(EXACT * result["commands"], EDGE):
        raise Fault(f"{where}: {counts['command']:.4f} NVMe commands per I/O were set up, {commands:.4f} completed")
    busy = {name: count for name, count in window.functions.items() if name != attribution.IDLE}
    return {"mode": mode, "case": case.name, "registration": registration, "memory": case.memory, "round": number, **result,
            "commands_per_io": commands, "bytes_per_command": block_bytes(case) / commands,
            "instructions_per_io": sum(busy.values()) / ios,
            "idle_per_io": (executed - sum(busy.values())) / ios, "executed_over_clock": executed / clock,
            "contexts": {name: count / ios for name, count in window.contexts().items()},
            "mechanisms": counts, "functions": attribution.per_io(busy, ios)}


def option(case: Case, name: str, default: str) -> str:
    words = case.arguments.split()
    return words[words.index(name) + 1] if name in words else default


def size_bytes(text: str) -> int:
    return int(text[:-1]) << {"k": 10, "m": 20, "g": 30}[text[-1]]


def block_bytes(case: Case) -> int:
    return size_bytes(option(case, "--bs", "4k"))


def measure(modes: tuple[str, ...], cases: tuple[str, ...], kernel: Path, base: Path | None) -> tuple[Path, Row]:
    made_of = {"kernel": provenance.made_of_kernel(kernel), "base": provenance.made_of_kernel(base) if base else None,
               "iocost_sha256": sources.sha256(BUILD / "iocost"), "profile_sha256": sources.sha256(BUILD / "profile.so")}
    stem = f"cost-{products.digest(json.dumps([made_of, modes, cases]))[:8]}"
    rows: list[Row] = []
    base_rows: list[Row] = []
    todo = list(planned(cases))
    with runs.unfinished(stem) as place:
        for mode in modes:
            start = time.monotonic()
            progress.say(f"cost: {mode}, {len(todo)} cells ...")
            rows += boots(kernel, mode, todo, place / "boots" / mode)
            if base:
                base_rows += boot(base, mode, [(BASE_CASE, "user", number) for number in (1, 2)], place / "boots" / f"{mode}-base")
            progress.say(f"cost: {mode}: done in {progress.clock(time.monotonic() - start)}")
        result = {
            "schema": schema.OF_COST.schema, "id": "", "made_of": made_of, "circumstances": provenance.circumstances(), "modes": modes,
            "cases": {name: dataclasses.asdict(CASES[name]) for name in cases}, "rows": rows, "base_rows": base_rows}
        return runs.finish(place, stem, schema.OF_COST, result), result
