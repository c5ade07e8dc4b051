# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison: every mode, registration and job, verified, repeated, interleaved, recorded."""

import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from .. import progress
from ..build import products
from ..fault import Fault
from ..machine import filesystems, guest
from ..machine.modes import IOMMUS, MODES, Mode
from ..machine.topologies import TRUSTED, memory_device
from ..record import provenance, runs, schema, store
from ..record.schema import AGAIN, REGISTRATIONS
from . import columns, disturbance, fio
from .columns import DEFAULT, Column

EVENTS = ("map", "unmap", "flush", "command")
NS_AN_INSTRUCTION = 2  # -icount shift=1
EVENT_IOS = 1000
PEER_MEMORY = "256M"  # 128 blocks of 1 MiB, and a power of two
FILE_MIB = 128  # of the file of a file system: jobs go over it as often as they must


@dataclass(frozen=True)
class Job:
    """A workload of jobs/, and how many I/Os a measurement of its cost takes to stand out from the noise."""

    name: str
    block_bytes: int
    cost_ios: int = 0  # 0: its cost is not measured here
    cost_ios_dmabuf: int = 0
    file: str = ""  # of jobs/, if its name is another
    environment: str = ""
    memory: str = "scattered"  # of fio.MEMORY: of what kind its buffers are, for every registration

    @property
    def writes(self) -> bool:
        return "write" in self.name or "rw" in self.name


JOBS = {job.name: job for job in (
    Job("randread-4k", 4 << 10, 15000, 20000),
    Job("randwrite-4k", 4 << 10, 15000, 20000),
    Job("randrw-4k", 4 << 10, 15000, 20000),
    Job("seqread-128k", 128 << 10, 2500, 12000),
    Job("seqwrite-128k", 128 << 10, 2500, 12000),
    Job("seqread-1m", 1 << 20, 400, 8000),
    Job("seqwrite-1m", 1 << 20, 400, 8000),
    # The same in memory that lies in few pieces.
    Job("randread-4k-huge", 4 << 10, 15000, 20000, file="randread-4k", memory="2m"),
    Job("seqread-128k-huge", 128 << 10, 2500, 12000, file="seqread-128k", memory="2m"),
    Job("seqwrite-128k-huge", 128 << 10, 2500, 12000, file="seqwrite-128k", memory="2m"),
    Job("seqread-1m-huge", 1 << 20, 800, 8000, file="seqread-1m", memory="2m"),
    Job("seqwrite-1m-huge", 1 << 20, 800, 8000, file="seqwrite-1m", memory="2m"),
)}
# Both kinds of memory where it matters: a 4 KiB I/O has one page of either.
USUAL = ("randread-4k", "randwrite-4k", "randrw-4k", "seqread-128k", "seqread-128k-huge", "seqread-1m", "seqread-1m-huge", "seqwrite-1m")
# What README.md shows, in its words.
SHOWN = {"randread-4k": "random 4 KiB read", "seqread-128k": "sequential 128 KiB read", "seqread-128k-huge": "sequential 128 KiB read",
         "seqread-1m": "sequential 1 MiB read", "seqread-1m-huge": "sequential 1 MiB read"}
# Curves of block size and queue depth; what they cost, `make cost` says exactly.
SWEEPS = {job.name: job for job in (
    *(Job(f"bs-{kib}k", kib << 10, file="sweep-bs", environment=f"BS={kib}k") for kib in (4, 16, 64, 256, 1024)),
    *(Job(f"qd-{depth}", 4 << 10, file="sweep-qd", environment=f"IODEPTH={depth}") for depth in (1, 4, 16, 64, 128)),
)}


@dataclass(frozen=True)
class Plan:
    jobs: tuple[str, ...] = USUAL
    registrations: tuple[str, ...] = REGISTRATIONS
    modes: tuple[str, ...] = tuple(MODES)
    rounds: int = 6  # wall-clock boots of each mode, a pair each: six reach 95 %, five do not (harness/judge/stats.py)
    passes: int = 2  # of the wall clock in a boot: forth and back
    runtime_ms: int = 500  # of a pass
    cost_rounds: int = 2  # cost measurements of each cell, in one boot of each mode
    column: Column = DEFAULT
    read_only: bool = False

    @property
    def memory(self) -> dict[str, str]:
        """The kind of each job's memory."""
        return {job: (JOBS | SWEEPS)[job].memory for job in self.jobs}

    def memory_of(self, job: Job, registration: str) -> str:
        return fio.PEER if self.column.peer and registration == "dmabuf" else job.memory

    def recorded(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"memory": self.memory}

    @property
    def costed(self) -> bool:
        return self.cost_rounds > 0 and self.column.icount

    def disks(self, name: str) -> list[str]:
        """What one job's requests go to: $NAME, $NAME2, ..."""
        if self.column.filesystem:
            return ["$DEV"]
        return [f"${name}{number if number > 1 else ''}" for number in range(1, self.column.disks + 1)]

    def places(self, name: str) -> str:
        """What fio is to open for that."""
        if self.column.filesystem:
            return f"{filesystems.place(self.column.filesystem)}/{name}"
        if self.column.commands:
            return ":".join(f"/dev/ng${{{disk[1:]}#/dev/nvme}}" for disk in self.disks(name))
        return ":".join(self.disks(name))

    def cells(self, backwards: bool) -> list[tuple[Job, str]]:
        """Every job with every registration; each second pass of the instruction clock runs backwards so that drift cancels."""
        cells = [((JOBS | SWEEPS)[job], registration) for job in self.jobs for registration in self.registrations]
        return cells[::-1] if backwards else cells

    def balanced(self, number: int) -> list[tuple[Job, str, int]]:
        """What round `number` measures by the wall clock, with the pass: each job with every registration forth and back.

        So each has the same place on average, and what drifts evenly cancels in the boot. Which one follows which changes from round to
        round, in Williams's zigzag (Australian J. of Chemistry 2, 1949): of an even number, over half as many rounds, each is measured
        once after each, itself included, as the way back begins with what the way forth ended with, and a job with what ended the one before."""
        names = self.with_again().registrations
        zigzag = [(number + (place + 1) // 2 * (-1) ** (place + 1)) % len(names) for place in range(len(names))]
        forth = [names[index] for index in zigzag]
        jobs = self.jobs[::-1] if number % 2 else self.jobs
        return [((JOBS | SWEEPS)[job], name, turn + 1) for job in jobs for turn in range(self.passes)
                for name in (forth[::-1] if turn % 2 else forth)]

    def with_again(self) -> "Plan":
        """What the wall clock measures: `user` twice."""
        again = (AGAIN,) if "user" in self.registrations else ()
        return dataclasses.replace(self, registrations=self.registrations + again)


SWEEP = Plan(jobs=tuple(SWEEPS), runtime_ms=400, cost_rounds=0)
SHORT = Plan(jobs=("randread-4k", "seqread-1m", "seqread-1m-huge"), rounds=1, runtime_ms=400)


def on(column: Column, wanted: Plan) -> Plan:
    """What of a plan a column can have."""
    lacks = columns.unavailable(column, wanted.modes)
    modes = tuple(mode for mode in wanted.modes if mode not in lacks)
    names = columns.registrations(column, wanted.registrations)
    jobs = tuple(job for job in wanted.jobs if not column.most or (JOBS | SWEEPS)[job].block_bytes <= column.most)
    if not (modes and names and jobs):
        raise Fault(f"column {column.name}: nothing to measure, " + (f"{'; '.join(lacks.values())}" if not modes else
                    "an unpatched kernel registers no dma-bufs" if not names else f"a block has at most {column.most >> 10} KiB there")
                    + ": name others with MODES=, REGISTRATIONS= or JOBS=")
    return dataclasses.replace(wanted, column=column, modes=modes, registrations=names, jobs=jobs)


@dataclass(frozen=True)
class Boot:
    name: str
    mode: Mode
    icount: bool
    script: str
    seconds: float  # rough: for the remaining time shown and for the timeout


# The first failure ends the boot and is what is read last; of what went well, the engine's own line is kept.
PROLOGUE = """\
LOG=${LOG:-/tmp/log}
try() {
	"$@" >"$LOG" 2>&1
	code=$? command=$*
}
done_well() {
	[ $code = 0 ] || { tail -n 5 "$LOG"; echo "bench: status $code from: $command"; exit 1; }
	grep ^dmabuf: "$LOG"
}
must() {
	try "$@"
	done_well
}
"""
# The device whose memory it is, to be VFIO's.
FIND_PEER = """\
for dir in /sys/bus/pci/devices/*; do
	[ "$(cat "$dir/vendor" "$dir/device" | xargs)" != "0x1af4 0x1110" ] || PEER=${dir##*/}
done
must sh -c "echo vfio-pci >/sys/bus/pci/devices/$PEER/driver_override; echo $PEER >/sys/bus/pci/drivers_probe"
"""
MISSED = 241  # the meter's, if pauses were too short for it


# On a busy host the kernel may take the TSC for a tenth of what it is, and its clock runs ten times too fast. It
# measures again a second later, and says so if that agrees. KVM tells the guest instead.
BAD_CLOCK = 75
CLOCK = f"""\
tries=50
until dmesg | grep -qE "Refined TSC|kvm-clock"; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || {{ echo "bench: this guest's clock is wrong"; exit {BAD_CLOCK}; }}
	sleep 0.1
done
"""
CLOCK_TRIES = 10
REPEATED = ".disturbed"  # what the directory of a boot is called while it is measured once more


def shell(job: str, output: str, registration: str, memory: str, limit: str, device: str, before: str = "", how: str = "must") -> str:
    return f"{how} " + fio.command(job, output, registration.removesuffix("-again"), memory, limit, device, before)


def ready(plan: Plan) -> list[str]:
    """What a boot of the column begins with."""
    if plan.column.filesystem:
        # Written, as a hole is no read of the disk, and not in the page cache.
        return [f"must sh -c '{filesystems.mount(plan.column.filesystem, '$DEV')}'",
                f"must dd if=/dev/zero of={plan.places('NULLDEV')} bs=1M count={FILE_MIB} conv=fsync",
                "must sh -c 'echo 3 >/proc/sys/vm/drop_caches'"]
    if plan.column.peer:
        return [FIND_PEER]
    if plan.column.commands:  # which a disk's statistics leave out, unless they are told; the meter looks at those
        return ["must sh -c 'for each in /sys/block/nvme*/queue/iostats_passthrough; do echo 1 >$each || exit 1; done'"]
    return []


def compared(plan: Plan, registration: str) -> list[str]:
    """Every byte, by a program of our own."""
    if plan.column.filesystem:
        programs = [f"iocost --files {filesystems.place(plan.column.filesystem)} $DEV $DEV"]
    elif plan.column.commands:
        programs = [f"iocost --through passthru $NULLDEV {disk}" for disk in plan.disks("DEV")]
    else:
        programs = [f"${{TESTS:-/tests}}/verify {disk}" for disk in plan.disks("DEV")]
    how = f"--registration {registration} --count 32" + (" --read-only" if plan.read_only else "")
    return [f"must {name} {how} --bs {size} {rest}" for name, _, rest in (each.partition(" ") for each in programs)
            for size in ("4k", "128k" if plan.column.commands else "1m")]


def verify(plan: Plan) -> list[str]:
    """Every byte, by a program of our own and by fio, each registration, before anything is measured."""
    lines = []
    for registration in plan.registrations:
        lines += compared(plan, registration)
        if not plan.read_only:
            job = "verify-commands" if plan.column.commands else "verify"
            lines += [shell(job, f"$RESULTS/verify.{registration}.{memory}.json", registration, memory, plan.column.options, plan.places("DEV"))
                      for memory in dict.fromkeys(plan.memory_of((JOBS | SWEEPS)[name], registration) for name in plan.jobs)]
        lines.append(f"echo verified {registration}")
    return lines


def speed_boot(plan: Plan, mode: Mode, number: int) -> Boot:
    limit = f"{plan.column.options} --time_based=1 --runtime={plan.runtime_ms}ms"
    cells = plan.balanced(number)
    verified = verify(plan) if number == 0 else []
    lines = [disturbance.script(f"{job.name} {registration} {turn}", shell(
                  job.file or job.name, f"$RESULTS/speed.{job.name}.{registration}.{turn}.json", registration, plan.memory_of(job, registration), limit, plan.places("NULLDEV"), job.environment))
              for job, registration, turn in cells]
    return Boot(f"speed-{mode.name}-{number + 1}", mode, False, PROLOGUE + "\n".join([*ready(plan), *verified, *lines]),
                8 + 2 * len(verified) + len(cells) * (plan.runtime_ms / 1000 + 0.5))


def metered(plan: Plan, kind: str, job: Job, registration: str, number: int, ios: int) -> str:
    """Pauses after every `ios` I/Os: what lies between the first two is what counts.

    On a busy machine the meter may sleep through a pause of the wall clock; then longer ones are tried."""
    name = f"$RESULTS/{kind}.{job.name}.{registration}.{number}"
    more = " --io_size=1t" if plan.column.filesystem else ""  # number_ios= alone ends with the file
    tried = shell(job.file or job.name, f"{name}.fio.json", registration, plan.memory_of(job, registration),
                  f"{plan.column.options} --number_ios={ios * 5 // 2} --thinktime=$pause --thinktime_blocks={ios}{more}", plan.places("NULLDEV"),
                  f"meter {name}.json {':'.join(plan.disks('NULLDEV'))} {kind}", how="try")
    pauses = "100ms" if plan.costed else "1500ms 6s 24s"
    return f"for pause in {pauses}; do\n\t{tried}\n\t[ $code = {MISSED} ] || break\ndone\ndone_well"


def cost_boot(plan: Plan, mode: Mode) -> Boot:
    lines = [metered(plan, "events", job, registration, 1, EVENT_IOS) for job, registration in plan.cells(backwards=False)]
    for number in range(plan.cost_rounds if plan.costed else 0):
        lines += [metered(plan, "cost", job, registration, number + 1,
                          job.cost_ios_dmabuf if registration == "dmabuf" else job.cost_ios)
                  for job, registration in plan.cells(backwards=bool(number % 2))]
    return Boot(f"cost-{mode.name}", mode, plan.costed, PROLOGUE + "\n".join([*ready(plan), *lines]), 10 + 3 * len(lines))


def boots(plan: Plan) -> Iterator[Boot]:
    """Rounds outermost: the repetitions of a cell are spread over the whole run."""
    modes = [MODES[name] for name in plan.modes]
    for number in range(plan.rounds):
        turn = number % len(modes)
        for mode in modes[turn:] + modes[:turn]:
            yield speed_boot(plan, mode, number)
    for mode in modes if plan.cost_rounds else []:
        yield cost_boot(plan, mode)


def run_boot(boot: Boot, column: Column, kernel: Path, directory: Path) -> None:
    """Run one boot and leave boot.json, which says that the directory is complete."""
    directory.mkdir(parents=True, exist_ok=True)
    script = boot.script if boot.icount else CLOCK + boot.script
    spec = guest.Spec(kernel=kernel, mode=boot.mode, command=script, icount=boot.icount, memory="4G",
                      timeout=120 + 6 * boot.seconds, iommu=IOMMUS[column.iommu], cpus=column.cpus,
                      nulls=column.disks, block=column.block, qemu_extra=f"{TRUSTED} {memory_device(PEER_MEMORY)}" if column.peer else "", files=filesystems.makers([column.filesystem] if column.filesystem else []))
    start = time.monotonic()
    try:
        for number in range(CLOCK_TRIES):
            with (directory / "out.txt").open("wb") as out:
                watch = disturbance.Watch(out)
                outcome = guest.boot(spec, watch, directory, watch.started)
            if outcome.status != BAD_CLOCK:
                break
            progress.say(f"bench: {boot.name}: the host was busy and the guest's clock is wrong, booting again")
    except Fault as fault:
        said = guest.tail((directory / "out.txt").read_text(errors="replace"), 5)
        raise type(fault)(f"{boot.name}: {fault}\nits output ends in: {said}") from fault
    (directory / "console").rename(directory / "dmesg.txt")
    (directory / "stderr").unlink()
    said = (directory / "out.txt").read_text(errors="replace")
    if outcome.status:
        raise Fault(f"{boot.name} failed: {guest.tail(said, 8)}\n(all of it in {directory})")
    store.write(directory / "boot.json", {
        "name": boot.name, "mode": boot.mode.name, "expected": boot.mode.expect, "observed": outcome.observed,
        "accel": guest.accelerator(spec), "icount": boot.icount, "qemu_argv": outcome.argv,
        "verified": [line.split()[1] for line in said.splitlines() if line.startswith("verified ")],
        "seconds": round(time.monotonic() - start, 1), "cells": watch.cells})


def key(plan: Plan, made_of: dict[str, Any], measured_by: dict[str, Any]) -> str:
    """Boots of equal keys are parts of one run."""
    return products.digest(json.dumps([made_of, measured_by, dataclasses.asdict(plan)]))[:8]


def measure(plan: Plan, kernel: Path) -> tuple[Path, dict[str, Any]]:
    """A finished run; one that was interrupted is gone on with."""
    stem = key(plan, provenance.made_of(kernel), provenance.measured_by())
    with runs.unfinished(stem, again=True) as place:
        boot_all(plan, kernel, place)
        result = collect(place, plan, kernel)
        return runs.finish(place, stem, schema.OF_BENCH, result), result


def disturbed(directory: Path) -> float:
    """The largest share that others had of the processor in a boot."""
    return disturbance.worst(store.read(directory / "boot.json")["cells"].values())


def settle(directory: Path) -> None:
    """Of a boot and its repetition keep the one that was disturbed less; the first, if the repetition did not end."""
    first = directory.with_name(f"{directory.name}{REPEATED}")
    if not first.exists():
        return
    if (directory / "boot.json").exists() and disturbed(directory) < disturbed(first):
        shutil.rmtree(first)
        return
    shutil.rmtree(directory, ignore_errors=True)
    first.rename(directory)


def repeat_disturbed(plan: Plan, kernel: Path, run: Path) -> None:
    """Once more, when whoever was there may be gone, and a third of all at most: on a host that is busy throughout it would be for nothing.

    What is chosen is chosen by what others had of the processor, never by what was measured."""
    timed = {boot: disturbed(run / "boots" / boot.name) for boot in boots(plan) if not boot.icount}
    worst = sorted((boot for boot, share in timed.items() if share > disturbance.MOST), key=lambda boot: -timed[boot])
    for boot in worst[:max(1, len(timed) // 3)]:
        directory = run / "boots" / boot.name
        progress.say(f"bench: {boot.name} again: others had up to {timed[boot]:.0%} of its processor")
        directory.rename(directory.with_name(f"{boot.name}{REPEATED}"))
        run_boot(boot, plan.column, kernel, directory)
        settle(directory)


def boot_all(plan: Plan, kernel: Path, run: Path) -> None:
    """Boot whatever this run still lacks."""
    for first in (run / "boots").glob(f"*{REPEATED}"):
        settle(first.with_name(first.name.removesuffix(REPEATED)))
    todo = [boot for boot in boots(plan) if not (run / "boots" / boot.name / "boot.json").exists()]
    left, start, expected = sum(boot.seconds for boot in todo), time.monotonic(), 0.0
    for number, boot in enumerate(todo, 1):
        pace = (time.monotonic() - start) / expected if expected else 1.0
        progress.say(f"bench: {boot.name} ({number} of {len(todo)}), about {progress.clock(left * pace)} left")
        run_boot(boot, plan.column, kernel, run / "boots" / boot.name)
        left, expected = left - boot.seconds, expected + boot.seconds
    repeat_disturbed(plan, kernel, run)


def speed_rows(run: Path, plan: Plan) -> list[dict[str, Any]]:
    rows = []
    for mode in plan.modes:
        for number in range(plan.rounds):
            seen = store.read(run / "boots" / f"speed-{mode}-{number + 1}" / "boot.json").get("cells", {})
            for order, (job, registration, turn) in enumerate(plan.balanced(number), 1):
                path = run / "boots" / f"speed-{mode}-{number + 1}" / f"speed.{job.name}.{registration}.{turn}.json"
                sample = fio.sample(fio.parse(path.read_text()))
                if sample.runtime_ms < 0.8 * plan.runtime_ms:  # the last batch may end it early
                    raise Fault(f"{path} ran for {sample.runtime_ms} ms where {plan.runtime_ms} were asked for")
                rows.append({"mode": mode, "registration": registration, "job": job.name, "memory": plan.memory_of(job, registration), "round": number + 1, "pass": turn,
                             "order": order, **dataclasses.asdict(sample), **seen.get(f"{job.name} {registration} {turn}", {})})
    return rows


def window(boot: Path, kind: str, job: Job, registration: str, number: int, memory: str) -> tuple[float, dict[str, Any]]:
    """The I/Os between two pauses (a request is part of one, or one), and what the meter saw them take."""
    name = f"{kind}.{job.name}.{registration}.{number}"
    ios = fio.sample(fio.parse((boot / f"{name}.fio.json").read_text())).ios
    meter = store.read(boot / f"{name}.json")
    if why := fio.other_memory(memory, meter["pages"], meter["runs"]):
        raise Fault(f"{boot.name}, {job.name} {registration}: {why}")
    return ios * meter["requests"] / meter["total_requests"], meter


def cost_rows(run: Path, plan: Plan) -> list[dict[str, Any]]:
    """Busy time is all time less the turns of the filler, at the boot's median price, less the meter's own."""
    rows = []
    for mode in plan.modes if plan.costed else ():
        boot = run / "boots" / f"cost-{mode}"
        meters = [path for path in boot.glob("cost.*.json") if not path.name.endswith(".fio.json")]
        turn_ns = median(store.read(path)["turn_ns"] for path in meters)
        for job, registration in plan.cells(backwards=False):
            for number in range(1, plan.cost_rounds + 1):
                ios, took = window(boot, "cost", job, registration, number, plan.memory_of(job, registration))
                busy_ns = took["wall_ns"] - took["own_ns"] - took["turns"] * turn_ns
                rows.append({"mode": mode, "registration": registration, "job": job.name, "memory": plan.memory_of(job, registration), "round": number, "ios": ios,
                             "instructions_per_io": busy_ns / NS_AN_INSTRUCTION / ios})
    return rows


def operation_rows(run: Path, plan: Plan) -> list[dict[str, Any]]:
    rows = []
    for mode in plan.modes if plan.cost_rounds else ():
        for job, registration in plan.cells(backwards=False):
            ios, saw = window(run / "boots" / f"cost-{mode}", "events", job, registration, 1, plan.memory_of(job, registration))
            if not IOMMUS[plan.column.iommu].flushes:
                saw["flush"] = None  # the tracepoint of another model, which this kernel has too
            per_io: dict[str, Any] = {f"{event}_per_io": None if saw[event] is None else saw[event] / ios
                                      for event in EVENTS}
            rows.append({"mode": mode, "registration": registration, "job": job.name, "memory": plan.memory_of(job, registration), "ios": ios,
                         "pages": saw["pages"], "runs": saw["runs"], **per_io, "bytes_per_command": job.block_bytes / per_io["command_per_io"]})
    return rows


def collect(run: Path, plan: Plan, kernel: Path) -> dict[str, Any]:
    done = [store.read(path) for path in sorted((run / "boots").glob("*/boot.json"))]
    verified = {(boot["mode"], registration) for boot in done for registration in boot["verified"]}
    for mode in plan.modes:
        for registration in plan.registrations:
            if (mode, registration) not in verified:
                raise Fault(f"{mode} {registration} was measured without verified data: remove {run} and run again")
    return {"schema": schema.SCHEMA, "id": "", "accel": sorted({boot["accel"] for boot in done}),
            "plan": plan.recorded(), "made_of": provenance.made_of(kernel), "circumstances": provenance.circumstances(),
            "boots": done, "speed": speed_rows(run, plan), "cost": cost_rows(run, plan),
            "operations": operation_rows(run, plan)}
