# SPDX-License-Identifier: GPL-2.0-or-later
"""Can this machine do it, and how long will it take?  One line for each thing, one next step for what is missing."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import progress
from ..build import cache, deps, sources
from ..fault import Fault
from ..machine import guest
from ..paths import BUILD, CACHE, RESULTS, ROOT
from ..record import provenance

GUEST_MEMORY = 4 << 30  # of bench and test
COST_MEMORY = 13 << 30  # of the cases of cost in 2 MiB pages
RESULTS_SPACE, TEMPORARY_SPACE = 1 << 30, 2 << 30


@dataclass(frozen=True)
class Found:
    what: str
    good: bool | None  # None: works, but slower or less
    said: str

    def __str__(self) -> str:
        return f"{ {True: 'ok', False: 'MISSING', None: 'note'}[self.good]:<8}{self.what:<12}{self.said}"


def available_memory() -> int:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    return int(found[1]) << 10 if found else 0


def system() -> Found:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', Path("/etc/os-release").read_text(), re.M) if Path("/etc/os-release").exists() else None
    name, machine = found[1] if found else "an unknown system", platform.machine()
    if machine != "x86_64":
        return Found("system", False, f"{name} on {machine}: guests and programs are built for x86-64")
    if not shutil.which("dpkg-query"):
        return Found("system", None, f"{name}, not Debian: packages are yours to install, sources to name (KERNEL_SRC=, FIO_SRC=)")
    return Found("system", True, f"{name}, {machine}")


def packages() -> Found:
    if not shutil.which("dpkg-query"):
        lacks = deps.lacking()
        return Found("programs", not lacks, f"install what provides {' '.join(lacks)}" if lacks else "all are here")
    lacks = deps.missing(deps.PACKAGES)
    step = "`make deps` installs" if os.geteuid() == 0 else "run `sudo make deps`, which installs"
    return Found("packages", not lacks, f"{step} {' '.join(lacks)}" if lacks else f"all {len(deps.PACKAGES)} are installed")


def memory() -> Found:
    free = available_memory()
    if free < GUEST_MEMORY:
        return Found("memory", False, f"{free >> 20} MiB available, a guest of bench has {GUEST_MEMORY >> 20}: end something")
    if free < COST_MEMORY:
        return Found("memory", None, f"{free >> 20} MiB available: not enough for `make cost` with 2 MiB pages, whose guest has {COST_MEMORY >> 20}")
    return Found("memory", True, f"{free >> 20} MiB available")


def free_of(place: Path) -> int:
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def disks() -> Iterator[Found]:
    built = any((CACHE / "kernel").glob("*"))
    for name, place, needs, remedy in (
            ("cache", CACHE, 0 if built else sources.SPACE_NEEDED, "set XDG_CACHE_HOME elsewhere"),
            ("results", RESULTS, RESULTS_SPACE, "make room"),
            ("temporary", Path(tempfile.gettempdir()), TEMPORARY_SPACE, "set TMPDIR elsewhere")):
        free = free_of(place)
        holds = f", holds {cache.size(place) >> 20} MiB" if name == "cache" and place.exists() else ""
        yield Found(name, free >= needs, f"{place}: {free >> 20} MiB free{holds}" if free >= needs else
                    f"{place}: {free >> 20} MiB free of {needs >> 20} needed: make room, or {remedy}")


EMULATED = ": QEMU interprets, and IOPS are those of an emulated machine. Counts are the same"


def kvm() -> Found:
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        verdicts = guest.kvm_verdicts()
        if verdicts and not any(verdicts.values()):
            return Found("KVM", None, f"/dev/kvm is there, but no guest has run on it{EMULATED}")
        return Found("KVM", True, "a guest has run on it" if verdicts else "/dev/kvm is there; whether a guest runs on it is tried with the first one")
    there = Path("/dev/kvm").exists()
    return Found("KVM", None, ("/dev/kvm is not yours to open" if there else "there is no /dev/kvm")
                 + EMULATED)


def busy() -> Found:
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    return Found("load", True if load < cpus / 2 else None, f"{load:.1f} on {cpus} processors"
                 + ("" if load < cpus / 2 else ": IOPS will scatter and all takes longer; counts do not mind"))


def checkout() -> Found:
    try:
        commit = provenance.checkout()["git_commit"] if shutil.which("git") else None
    except Fault as fault:
        return Found("checkout", False, f"{fault}")
    return Found("checkout", True if commit else None, f"commit {commit[:12]}" if commit else
                 f"{ROOT} is no git checkout (or git is not here): records will name no commit, regress and baseline need one")


def mirror() -> Found:
    if list((CACHE / "src").glob("linux-*")) and list((CACHE / "src").glob("fio-*")):
        return Found("sources", True, "kernel and fio are in the cache: no network is needed")
    try:
        sources.mirror()
        return Found("sources", True, "kernel and fio will come from this machine's Debian mirror")
    except Fault as fault:
        return Found("sources", None, str(fault))


def diagnose() -> list[Found]:
    one: tuple[Callable[[], Found], ...] = (system, packages, checkout, mirror, memory)
    return [*(each() for each in one), *disks(), kvm(), busy()]


def expected() -> dict[str, str]:
    """What the Makefile says of each verb."""
    return dict(re.findall(r"^([a-z0-9-]+):.*?## \[([^]]+)\]", (ROOT / "Makefile").read_text(), re.M))


def durations() -> Iterator[str]:
    here = cache.times()
    yield f"{'verb':<14}{'expected':<18}last here"
    for verb, text in expected().items():
        yield f"{verb:<14}{text:<18}{progress.clock(here[verb]) if verb in here else '-'}"


def report() -> int:
    found = diagnose()
    print("\n".join(map(str, found)))
    if not (BUILD / "bzImage").exists():
        print("note    first time  sources, kernel and programs are got and built once: about 15 minutes on two processors")
    print("\nMinutes:seconds; expected: on two processors without KVM, once the kernel is built")
    print("\n".join(durations()))
    lacks = [each.what for each in found if each.good is False]
    print(f"\nnot ready: {', '.join(lacks)}" if lacks else "\nready")
    return 1 if lacks else 0
