# SPDX-License-Identifier: GPL-2.0-or-later
"""What else than the reference machine the comparison can run on, as data."""

from dataclasses import dataclass

from ..machine.modes import IOMMUS


@dataclass(frozen=True)
class Column:
    """Each column is a run of its own: records, table and figures."""

    name: str
    text: str
    iommu: str = "vtd"
    cpus: int = 1
    icount: bool = True  # without (the instruction clock has one processor) operations are counted but no cost
    disks: int = 1  # that one job runs over
    block: int = 512  # logical block size
    options: str = ""  # fio's
    filesystem: str = ""  # a file of which, on the data disk, is what the jobs run over
    commands: bool = False  # NVMe commands to /dev/ngXnY in place of reads and writes
    most: int = 0  # bytes of a block; 0: any
    peer: bool = False  # dma-bufs are memory of another device, and not the system's
    unpatched: bool = False  # on the base kernel, which cannot register dma-bufs


JOBS2 = "--numjobs=2 --group_reporting --offset_increment=64m"  # apart, or they could not verify

COLUMNS = {column.name: column for column in (
    Column("vtd", "VT-d, one processor, one job, one device, 512-byte blocks"),
    Column("amd", "AMD-Vi", iommu="amd"),
    Column("virtio", "virtio-iommu", iommu="virtio"),
    Column("smp2", "two processors", cpus=2, icount=False),
    Column("jobs2", "two jobs on one processor", options=JOBS2),
    Column("smp2-jobs2", "two jobs on two processors", cpus=2, icount=False, options=JOBS2),
    Column("disks2", "two devices", disks=2),
    Column("lba4k", "4 KiB logical blocks", block=4096),
    Column("ext4", "a file of ext4", filesystem="ext4"),
    Column("xfs", "a file of XFS", filesystem="xfs"),
    # Nobody splits them, and 128 KiB is what Linux maps of user memory for one through an IOMMU.
    Column("passthrough", "NVMe commands to /dev/ngXnY, of up to 128 KiB", commands=True, most=128 << 10),
    Column("peer", "dma-bufs of another device's memory, by VFIO, beside user memory of the system", peer=True),
    Column("unpatched", "unpatched kernel", unpatched=True),
)}
DEFAULT = COLUMNS["vtd"]


def registrations(column: Column, chosen: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in chosen if name != "dmabuf") if column.unpatched else chosen


def unavailable(column: Column, modes: tuple[str, ...]) -> dict[str, str]:
    """Those of the modes that this column cannot have, and why."""
    return {mode: reason for mode, reason in IOMMUS[column.iommu].lacks.items() if mode in modes}
