# SPDX-License-Identifier: GPL-2.0-or-later
"""What made a run and what it gave: provenance, and run.json (schema in results/README.md)."""

import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from . import guest, sources
from .paths import BUILD, ROOT

SCHEMA = 2


def write(path: Path, value: Any) -> None:
    """In one step, so that a file that exists is whole."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value, indent=1) + "\n")
    fresh.replace(path)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()


def host_cpu() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return match[1] if match else platform.processor()


def kernel_release(bzimage: Path) -> str:
    """The version string that the boot protocol points to."""
    head = bzimage.read_bytes()[:1 << 16]
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    return head[start:head.index(b"\0", start)].decode()


def made_of_kernel(kernel: Path) -> dict[str, Any]:
    made_from = kernel.resolve().parent / "made_from.json"  # beside a kernel that we built
    return {"release": kernel_release(kernel), "bzimage_sha256": sources.sha256(kernel),
            "version": sources.base()["version"], "made_from": read(made_from) if made_from.exists() else None}


def made_of(kernel: Path) -> dict[str, Any]:
    """What decides the numbers: two runs with equal values here may be compared."""
    return {
        "kernel": made_of_kernel(kernel),
        "engine_sha256": sources.sha256(BUILD / "dmabuf.so"),
        "fio": {"version": sources.FIO_VERSION, "sha256": sources.sha256(BUILD / "fio")},
        "jobs_sha256": {path.name: sources.sha256(path) for path in sorted((ROOT / "jobs").iterdir())},
        "meter_sha256": sources.sha256(BUILD / "meter"),
    }


def circumstances() -> dict[str, Any]:
    """Where and when; everything that should not matter to the exact figures."""
    version = subprocess.run([guest.PC.qemu, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(git("status", "--porcelain")),
            "qemu": version, "host_cpu": host_cpu(), "host_cpus": os.cpu_count(), "host_kernel": platform.release()}
