# SPDX-License-Identifier: GPL-2.0-or-later
"""What else than the reference machine the comparison can run on, as data."""

import dataclasses
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from ..fault import Fault
from ..machine.modes import IOMMUS
from . import fio

if TYPE_CHECKING:
    from . import bench


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
    unpatched: bool = False  # on the base kernel, which cannot register dma-bufs


JOBS2 = "--numjobs=2 --group_reporting --offset_increment=64m"  # apart, or they could not verify

COLUMNS = {column.name: column for column in (
    Column("vtd", "VT-d, one processor, one job, one device, 512-byte blocks, 4 KiB pages"),
    Column("amd", "AMD-Vi", iommu="amd"),
    Column("virtio", "virtio-iommu", iommu="virtio"),
    Column("smp2", "two processors", cpus=2, icount=False),
    Column("jobs2", "two jobs on one processor", options=JOBS2),
    Column("smp2-jobs2", "two jobs on two processors", cpus=2, icount=False, options=JOBS2),
    Column("disks2", "two devices", disks=2),
    Column("lba4k", "4 KiB logical blocks", block=4096),
    # Buffers of every registration, the user's too, as on a machine whose memory is in pieces.
    Column("scattered", "4 KiB pages, no two of them neighbours", options=f"--ioengine={fio.ENGINE} --pages=scattered"),
    Column("huge", "2 MiB pages", options=f"--ioengine={fio.ENGINE} --pages=2m"),
    Column("unpatched", "unpatched kernel", unpatched=True),
)}
DEFAULT = COLUMNS["vtd"]


def plan(wanted: "bench.Plan", column: Column) -> "bench.Plan":
    """What of it this column can have."""
    lacks = unavailable(column, wanted.modes)
    modes = tuple(mode for mode in wanted.modes if mode not in lacks)
    names = registrations(column, wanted.registrations)
    if not (modes and names):
        raise Fault(f"column {column.name}: nothing to measure, " + (f"{'; '.join(lacks.values())}" if not modes else
                    "an unpatched kernel registers no dma-bufs") + ": name others with MODES= or REGISTRATIONS=")
    return dataclasses.replace(wanted, column=column, modes=modes, registrations=names)


def registrations(column: Column, chosen: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in chosen if name != "dmabuf") if column.unpatched else chosen


def unavailable(column: Column, modes: tuple[str, ...]) -> dict[str, str]:
    """Those of the modes that this column cannot have, and why."""
    return {mode: reason for mode, reason in IOMMUS[column.iommu].lacks.items() if mode in modes}


def cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def side_by_side(records: list[dict[str, Any]], modes: tuple[str, ...]) -> str:
    """What is exact of each column's run; IOPS of different runs do not compare."""
    text = ["Instructions and operations per I/O, every column (-: not counted there)",
            f"  {'':<12}{'':<13}{'':<8}{'instructions':>13}{'map':>8}{'unmap':>8}{'flush':>8}{'commands':>10}"]
    for job in records[0]["plan"]["jobs"]:
        text.append(f" {job}")
        for record in records:
            column = COLUMNS[record["plan"]["column"]["name"]]
            for row in record["operations"]:
                if row["job"] == job:
                    costs = [each["instructions_per_io"] for each in record["cost"]
                             if all(each[key] == row[key] for key in ("job", "mode", "registration"))]
                    counts = [cell(row[f"{name}_per_io"], ".3f") for name in ("map", "unmap", "flush")]
                    text.append(f"  {column.name:<12}{row['mode']:<13}{row['registration']:<8}"
                                f"{cell(median(costs) if costs else None, ',.0f'):>13}"
                                + "".join(f"{count:>8}" for count in counts) + f"{cell(row['command_per_io'], '.3f'):>10}")
            text += [f"  {column.name:<12}{mode:<13}unavailable: {why}" for mode, why in unavailable(column, modes).items()]
    return "\n".join(text)
