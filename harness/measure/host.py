# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison on this machine: one NVMe disk, in each IOMMU mode in turn."""

import dataclasses
import datetime
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import progress
from ..build import sources
from ..fault import Fault
from ..machine import target
from ..machine.modes import MODES, Mode
from ..paths import BUILD, ROOT
from ..record import provenance, runs, schema, store
from . import bench
from .columns import Column

NEEDED = ("fio", "dmabuf.so", "meter", "tests/verify")  # of build/
HUGE_PAGES = 16  # of 2 MiB, of a job's buffers
TOO_FEW = f"fewer than {HUGE_PAGES} huge pages are free: write so many and more into /proc/sys/vm/nr_hugepages"


def run_script(script: str, device: Path, directory: Path, cpu: int) -> None:
    """A boot's script here: pinned, in a session of its own that ends with us."""
    directory.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PATH": f"{BUILD}:{os.environ.get('PATH', '')}", "RESULTS": str(directory), "DEV": str(device), "NULLDEV": str(device),
        "TESTS": str(BUILD / "tests"), "JOBS": str(ROOT / "jobs"), "PLUGIN": str(BUILD / "dmabuf.so"),
        "LOG": str(directory / "log")}
    with (directory / "out.txt").open("wb") as out:
        process = subprocess.Popen(["taskset", "-c", str(cpu), "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        try:
            status = process.wait()
        finally:
            with target.undisturbed(), suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status:
        said = (directory / "out.txt").read_text(errors="replace").splitlines()[-8:]
        raise Fault(f"{directory.name} failed: {' / '.join(said) or f'status {status}'}\n(all of it in {directory})")


def events_script(plan: bench.Plan) -> str:
    return bench.PROLOGUE + "\n".join(
        bench.metered(plan, "events", job, registration, 1,
                      job.cost_ios_dmabuf if registration == "dmabuf" else job.cost_ios)
        for job, registration in plan.cells(backwards=False))


def visit(plan: bench.Plan, disk: target.Disk, mode: Mode, number: int, run: Path, cpu: int) -> None:
    """One round in one mode; verified data first, operations counted once."""
    device = target.switch(disk, mode.expect)
    start, boot = time.monotonic(), bench.speed_boot(plan, mode, number)
    parts = [(boot.name, boot.script)]
    if number == 0:
        parts.append((f"cost-{mode.name}", events_script(plan)))
    for name, script in parts:
        run_script(script, device, run / "boots" / name, cpu)
        said = (run / "boots" / name / "out.txt").read_text(errors="replace")
        store.write(run / "boots" / name / "boot.json", {
            "name": name, "mode": mode.name, "expected": mode.expect, "observed": [disk.type()], "accel": "hardware",
            "icount": False, "qemu_argv": [], "seconds": round(time.monotonic() - start, 1),
            "verified": [line.split()[1] for line in said.splitlines() if line.startswith("verified ")]})


def cost_rows(run: Path, plan: bench.Plan) -> list[dict[str, Any]]:
    """By the processor's own counter; none where it has none."""
    rows = []
    for mode in plan.modes:
        for job, registration in plan.cells(backwards=False):
            ios, saw = bench.window(run / "boots" / f"cost-{mode}", "events", job, registration, 1, job.memory)
            if saw["instructions"] is not None:
                rows.append({"mode": mode, "registration": registration, "job": job.name, "memory": job.memory, "round": 1, "ios": ios,
                             "instructions_per_io": saw["instructions"] / ios})
    return rows


def fits(name: str) -> bool:
    """Has this machine memory of a job's kind?"""
    return bench.JOBS[name].memory != "2m" or int(target.text(target.SYS / "kernel/mm/hugepages/hugepages-2048kB/free_hugepages") or 0) >= HUGE_PAGES


def possible(names: Iterable[str], destructive: bool) -> tuple[str, ...]:
    """Jobs that nobody named: those that destroy nothing, unless that may be, and have their memory."""
    wanted = [name for name in names if destructive or not bench.JOBS[name].writes]
    if left_out := [name for name in wanted if not fits(name)]:
        progress.say(f"host: without {' '.join(left_out)}: {TOO_FEW}")
    return tuple(name for name in wanted if name not in left_out)


def measure(plan: bench.Plan, path: str, destructive: bool) -> tuple[Path, dict[str, Any]]:
    disk = target.find(path)
    if lacking := [name for name in NEEDED if not (BUILD / name).exists()]:
        raise Fault(f"build/ lacks {' '.join(lacking)}: run `make engine`")
    target.refuse_in_use(disk)
    writers = [name for name in plan.jobs if bench.JOBS[name].writes]
    if writers and not destructive:
        raise Fault(f"{' '.join(writers)} would destroy what is on DEV={path}: say DESTRUCTIVE=1 if that may be")
    if lacking := [name for name in plan.jobs if not fits(name)]:
        raise Fault(f"{' '.join(lacking)}: {TOO_FEW}, or leave them out (JOBS=)")
    cpu = target.cpu_for(disk)
    iommu = "vtd" if list(target.SYS.glob("class/iommu/dmar*")) else "amd"  # for which there is a tracepoint of flushes
    plan = dataclasses.replace(plan, read_only=not destructive, column=Column(
        "host", "this machine", iommu=iommu, icount=False, options="" if destructive else "--readonly"))
    with runs.unfinished("host") as run:
        result = collect(plan, disk, cpu, run)
        return runs.finish(run, f"host-{datetime.datetime.now():%H%M%S}", schema.OF_BENCH, result), result


def collect(plan: bench.Plan, disk: target.Disk, cpu: int, run: Path) -> dict[str, Any]:
    """All rounds, with the machine as it was after them."""
    modes = [MODES[name] for name in plan.modes]
    with target.borrowed(disk, cpu):
        place = target.about(disk, cpu)
        for number in range(plan.rounds):
            turn = number % len(modes)
            for mode in modes[turn:] + modes[:turn]:
                progress.say(f"host: round {number + 1} of {plan.rounds}, {mode.name}")
                visit(plan, disk, mode, number, run, cpu)
    made_of = {"kernel": {"release": platform.release(), "version": platform.version()},
               "engine_sha256": sources.sha256(BUILD / "dmabuf.so"), "meter_sha256": sources.sha256(BUILD / "meter"),
               "fio": {"version": sources.FIO_VERSION, "sha256": sources.sha256(BUILD / "fio")}}
    return {"schema": schema.SCHEMA, "id": "", "accel": ["hardware"], "plan": plan.recorded(),
              "made_of": made_of, "host": place,
              "circumstances": {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                                "qemu": "no QEMU", "host_cpu": provenance.host_cpu(), "host_cpus": os.cpu_count(),
                                "host_kernel": platform.release()},
              "boots": [store.read(each) for each in sorted((run / "boots").glob("*/boot.json"))],
              "speed": bench.speed_rows(run, plan), "cost": cost_rows(run, plan), "operations": bench.operation_rows(run, plan)}
