# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk of this machine: may it be used, and its IOMMU group switched from mode to mode and put back."""

import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import progress
from ..fault import Fault, WrongMode

SYS, PROC = Path("/sys"), Path("/proc")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WAIT = 30.0  # seconds for a disk to come back after its driver was bound


@dataclass(frozen=True)
class Disk:
    """A namespace by what stays the same when its driver is bound again."""

    function: Path  # the PCI function in sysfs
    group: Path
    driver: str
    nsid: str

    def namespaces(self) -> list[Path]:
        return sorted(self.function.glob("nvme/nvme*/nvme*n*"))

    def device(self) -> Path | None:
        return next((Path("/dev") / each.name for each in self.namespaces() if text(each / "nsid") == self.nsid), None)

    def type(self) -> str:
        return text(self.group / "type")


def text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def put(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise Fault(f"writing {value} to {path}: {error.strerror}") from error


# --- may we? ---

def find(path: str) -> Disk:
    """The disk at /dev/...; each refusal names its reason."""
    if not path:
        raise Fault("TARGET=host needs a disk: say DEV=/dev/nvmeXnY")
    if os.geteuid():
        raise Fault("switching an IOMMU group needs root")
    device = Path(path).resolve()
    if not device.exists():
        raise Fault(f"DEV={path} does not exist")
    if not stat.S_ISBLK(device.stat().st_mode):
        raise Fault(f"DEV={path} is not a block device")
    block = (SYS / "class/block" / device.name).resolve()
    if (block / "partition").exists():
        raise Fault(f"DEV={path} is a partition: name the whole disk, /dev/{block.parent.name}")
    if "nvme-subsystem" in block.parts or any(part.startswith("nvme-subsys") for part in block.parts):
        raise Fault(f"DEV={path} is a multipath head, and the mode of one disk is switched here, not of all its paths: boot with nvme_core.multipath=N")
    if not re.fullmatch(r"nvme\d+n\d+", device.name):
        raise Fault(f"DEV={path} is no NVMe disk")
    if (transport := text(block.parent / "transport")) != "pcie":
        raise Fault(f"DEV={path} is reached by {transport or 'an unknown transport'}: only a PCIe disk is behind an IOMMU")
    function = (block.parent / "device").resolve()
    if not (function / "iommu_group").exists():
        raise Fault(f"DEV={path} is in no IOMMU group: boot with the IOMMU on (intel_iommu=on, or in the firmware's setup)")
    disk = Disk(function, (function / "iommu_group").resolve(), (function / "driver").resolve().name, text(block / "nsid"))
    others = sorted({each.name for each in (disk.group / "devices").iterdir()} - {function.name})
    if others:
        raise Fault(f"IOMMU group {disk.group.name} of DEV={path} also holds {' '.join(others)}, "
                    "which a change of its mode would take along: use a disk in a group of its own")
    return disk


def numbers(block: Path) -> dict[str, str]:
    """MAJOR:MINOR of a disk and of its partitions -> name."""
    return {text(each / "dev"): each.name for each in (block, *block.glob(f"{block.name}p*")) if (each / "dev").exists()}


def descriptors() -> Iterator[Path]:
    for process in os.listdir(PROC):
        if process.isdigit():
            with suppress(OSError):
                yield from (PROC / process / "fd" / name for name in os.listdir(PROC / process / "fd"))


def opener(wanted: set[str]) -> str:
    """A process that has one of these devices open; processes may end while we look."""
    for link in descriptors():
        with suppress(OSError):
            info = os.stat(link)
            if stat.S_ISBLK(info.st_mode) and f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}" in wanted:
                return f"process {link.parts[-3]} ({text(link.parent.parent / 'comm')})"
    return ""


def refuse_in_use(disk: Disk) -> None:
    """Of all namespaces of the controller: unbinding its driver takes every one of them away."""
    mounts = {line.split()[2]: line.split()[4] for line in text(PROC / "self/mountinfo").splitlines()}
    swaps = {line.split()[0] for line in text(PROC / "swaps").splitlines()[1:]}
    loops = {text(each): each.parent.parent.name for each in SYS.glob("block/loop*/loop/backing_file")}
    for block in disk.namespaces():
        known = numbers(block)
        for number, name in known.items():
            place = block if name == block.name else block / name
            if number in mounts:
                raise Fault(f"/dev/{name} is mounted at {mounts[number]}: unmount it, or name another disk")
            if f"/dev/{name}" in swaps:
                raise Fault(f"/dev/{name} is swap space: swapoff it, or name another disk")
            if holders := [each.name for each in place.glob("holders/*")]:
                raise Fault(f"/dev/{name} is held by {' '.join(holders)}: take that down, or name another disk")
            if f"/dev/{name}" in loops:
                raise Fault(f"/dev/{name} is behind {loops[f'/dev/{name}']}: detach it, or name another disk")
        if who := opener(set(known)):
            raise Fault(f"/dev/{block.name} is open in {who}: stop it, or name another disk")
        try:
            os.close(os.open(f"/dev/{block.name}", os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            raise Fault(f"/dev/{block.name} is in use ({error.strerror}): free it, or name another disk") from error


# --- switch and put back ---

def await_device(disk: Disk) -> Path:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        device = disk.device()
        if device and device.exists():
            return device
        time.sleep(0.05)
    raise Fault(f"the disk at {disk.function.name} did not come back within {WAIT:g} s: look at dmesg")


def unbind(disk: Disk) -> None:
    """Once nobody has it open: what a killed program still holds would keep the name from coming back."""
    known = set().union(*(numbers(block) for block in disk.namespaces()))
    deadline = time.monotonic() + WAIT
    while opener(known) and time.monotonic() < deadline:
        time.sleep(0.05)
    if (disk.function / "driver").exists():
        put(disk.function / "driver/unbind", disk.function.name)


def bind(disk: Disk) -> None:
    if not (disk.function / "driver").exists():
        put(SYS / "bus/pci/drivers" / disk.driver / "bind", disk.function.name)


def switch(disk: Disk, wanted: str) -> Path:
    """The group has that type and the disk its driver; read back, not believed."""
    if disk.type() != wanted:
        live = (disk.type(), wanted) == ("DMA", "DMA-FQ")  # the one step that the kernel takes under a driver
        if not live:
            unbind(disk)
        try:
            put(disk.group / "type", wanted)
        finally:
            bind(disk)
    device = await_device(disk)
    if disk.type() != wanted:
        raise WrongMode(f"asked IOMMU group {disk.group.name} for {wanted} but it reads {disk.type()}")
    return device


@contextmanager
def undisturbed() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def borrowed(disk: Disk, cpu: int) -> Iterator[None]:
    """Whatever happens in between, mode, driver and governor end as they were."""
    governor, mode = SYS / f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor", disk.type()
    was = text(governor)
    progress.say(f"host: IOMMU group {disk.group.name} of {disk.function.name} is {mode}, governor {was or 'none'}; both will be again")
    try:
        if was:
            put(governor, "performance")
        yield
    finally:
        with undisturbed():
            try:
                device = switch(disk, mode)
            finally:
                if was:
                    put(governor, was)
            progress.say(f"host: IOMMU group {disk.group.name} is {mode} again, the disk is {device}")


# --- what it is ---

def cpu_for(disk: Disk) -> int:
    """The last processor near the disk: the first ones get everyone's interrupts."""
    near: set[int] = set()
    for part in filter(None, text(disk.function / "local_cpulist").split(",")):
        first, _, last = part.partition("-")
        near |= set(range(int(first), int(last or first) + 1))
    return max(near & os.sched_getaffinity(0) or os.sched_getaffinity(0))


def about(disk: Disk, cpu: int) -> dict[str, Any]:
    """What a reader needs to know of this machine."""
    controller = next(disk.function.glob("nvme/nvme*"))
    siblings = SYS / f"devices/system/cpu/cpu{cpu}/topology"
    return {"model": text(controller / "model"), "firmware": text(controller / "firmware_rev"),
            "link_speed": text(disk.function / "current_link_speed"), "link_width": text(disk.function / "current_link_width"),
            "numa_node": text(disk.function / "numa_node"), "pci": disk.function.name, "iommu_group": disk.group.name,
            "iommu": sorted(each.name for each in SYS.glob("class/iommu/*")), "cpu": cpu,
            "package": text(siblings / "physical_package_id"), "siblings": text(siblings / "thread_siblings_list"),
            "governor": text(SYS / f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"),
            "smt": text(SYS / "devices/system/cpu/smt/control"), "cmdline": text(PROC / "cmdline"),
            "machine": text(SYS / "class/dmi/id/product_name")}
