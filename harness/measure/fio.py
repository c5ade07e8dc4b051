# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's command line and fio's JSON.  Knows nothing of QEMU."""

import json
from dataclasses import dataclass
from typing import Any

from ..fault import Fault

# Where the guest has them; a host says otherwise.
ENGINE = "external:${PLUGIN:-/usr/lib/dmabuf.so}"
JOBS = "${JOBS:-/jobs}"
MEMORY = {"scattered": "scattered 4 KiB pages", "2m": "2 MiB pages"}  # of what kind buffers are, whatever registers them: pages= of the engine
# What only a dma-buf can be: a BAR of the PCI device $PEER, and the kernel must say that the disk gets at it as at a peer's.
PEER = "peer"
FROM_PEER = "--source=vfio --vfio_device=$PEER --vfio_region=2 --require_p2p=1"
PAGE, HUGE = 4 << 10, 2 << 20
PERCENTILES = {"p50": "50.000000", "p99": "99.000000", "p999": "99.900000"}


@dataclass(frozen=True)
class Sample:
    """One fio run.  Latency is completion latency, by direction."""

    ios: int
    bytes: int
    iops: float
    bandwidth_bytes: float
    runtime_ms: int
    latency_ns: dict[str, dict[str, int]]
    user_cpu_percent: float
    system_cpu_percent: float
    context_switches: int


def command(job: str, output: str, registration: str, memory: str, limit: str, device: str, before: str = "") -> str:
    """A shell line: the same job file for every registration, only its variables, the memory and the length of the run differ."""
    return (f"env DEV={device} ENGINE={ENGINE} REGISTRATION={registration} {before} "
            f"fio --output-format=json --output={output} --ioengine={ENGINE} {FROM_PEER if memory == PEER else f'--pages={memory}'} {limit} {JOBS}/{job}.fio")


def other_memory(memory: str, pages: int, runs: int) -> str:
    """Why buffers of so many pages in so many runs of neighbours are not of that kind; empty if they are."""
    if memory == PEER:
        return f"{pages} pages of buffers are the system's memory, and not another device's" if pages else ""
    if not pages:
        return "no buffer of the engine was seen in /proc/PID/pagemap"
    most = -(-pages * PAGE // HUGE)
    good = runs >= pages - pages // 100 - 1 if memory == "scattered" else runs <= most
    return "" if good else f"{pages} pages lie in {runs} pieces, and memory of the kind {memory} has {'one for each page' if memory == 'scattered' else f'at most {most}'}"


def parse(text: str) -> dict[str, Any]:
    """fio's JSON object; an engine's own lines may stand before and after it."""
    start = text.find("{\n")
    if start < 0:
        raise Fault(f"fio wrote no JSON: {text.strip()[-300:] or 'nothing at all'}")
    try:
        report: dict[str, Any] = json.JSONDecoder().raw_decode(text[start:])[0]
    except json.JSONDecodeError as error:
        raise Fault(f"fio's JSON is cut short: {error}") from error
    return report


def sample(report: dict[str, Any]) -> Sample:
    """The one job of a report.  A failed, short or empty run is not a sample."""
    if len(report["jobs"]) != 1:
        raise Fault(f"expected one job (or group_reporting) in fio's report, found {len(report['jobs'])}")
    job = report["jobs"][0]
    ways = {way: job[way] for way in ("read", "write", "trim") if job[way]["total_ios"]}
    short = sum(way["short_ios"] + way["drop_ios"] for way in ways.values())
    if job["error"] or short or not ways:
        raise Fault(f"fio job {job['jobname']}: error {job['error']}, {short} short or dropped, "
                    f"{sum(way['total_ios'] for way in ways.values())} complete I/Os")
    return Sample(
        ios=sum(way["total_ios"] for way in ways.values()),
        bytes=sum(way["io_bytes"] for way in ways.values()),
        iops=sum(way["iops"] for way in ways.values()),
        bandwidth_bytes=sum(way["bw_bytes"] for way in ways.values()),
        runtime_ms=max(way["runtime"] for way in ways.values()),
        latency_ns={name: {short: way["clat_ns"]["percentile"][key] for short, key in PERCENTILES.items()}
                    for name, way in ways.items()},
        user_cpu_percent=job["usr_cpu"],
        system_cpu_percent=job["sys_cpu"],
        context_switches=job["ctx"],
    )
