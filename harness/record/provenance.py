# SPDX-License-Identifier: GPL-2.0-or-later
"""What made a run, and where and when it was."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from ..build import products, sources
from ..fault import Fault
from ..machine.modes import PC
from ..paths import BUILD, ROOT
from . import store


def git(*arguments: str, fails: int = 0) -> str:
    """What git says.  One that cannot be asked has not said that nothing changed; `fails` is a status that is an answer."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode not in (0, fails):
        raise Fault(f"git cannot tell what commit this is, which a record names: {' '.join(done.stderr.split()) or 'it says nothing'}")
    return done.stdout.strip()


def has_commit(name: str) -> bool:
    """In this repository, which may be a shallow clone."""
    return subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", f"{name}^{{commit}}"], capture_output=True).returncode == 0


def commit_of(name: str) -> str:
    """The commit that a name stands for; the name itself if it is none."""
    return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", fails=1) or name


def checkout() -> dict[str, Any]:
    """Of a tree that is no checkout there is no commit to name."""
    if not (ROOT / ".git").exists():
        return {"git_commit": None, "git_dirty": None}
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(git("status", "--porcelain"))}


def host_cpu() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return match[1] if match else platform.processor()


def kernel_release(bzimage: Path) -> str:
    """The version string that the boot protocol points to."""
    with bzimage.open("rb") as file:
        head = file.read(1 << 16)
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    if head[0x202:0x206] != b"HdrS" or b"\0" not in head[start:]:
        raise Fault(f"{bzimage} is no bzImage: name one with KERNEL= or BASE=, or leave it out for ours")
    return head[start:head.index(b"\0", start)].decode(errors="replace")


def made_of_kernel(kernel: Path) -> dict[str, Any]:
    made_from = kernel.resolve().parent / "made_from.json"  # beside a kernel that we built
    return {"release": kernel_release(kernel), "bzimage_sha256": sources.sha256(kernel),
            "version": sources.base()["version"], "made_from": store.read(made_from) if made_from.exists() else None}


def made_of(kernel: Path) -> dict[str, Any]:
    """What decides the numbers: two runs with equal values here may be compared."""
    return {
        "kernel": made_of_kernel(kernel),
        "engine_sha256": sources.sha256(BUILD / "dmabuf.so"),
        "fio": {"version": sources.FIO_VERSION, "sha256": sources.sha256(BUILD / "fio")},
        "jobs_sha256": {path.name: sources.sha256(path) for path in sorted((ROOT / "jobs").iterdir())},
        "meter_sha256": sources.sha256(BUILD / "meter"),
    }


def qemu_version() -> str:
    return products.text(PC.qemu, "--version").splitlines()[0]


def measured_by() -> dict[str, str]:
    """What measures: a run that another QEMU or harness began is not gone on with."""
    own = sorted(path for path in (ROOT / "harness").rglob("*") if path.suffix in (".py", ".sh", ".c"))
    return {"qemu": qemu_version(), "harness_sha256": products.digest("".join(sources.sha256(path) for path in own)),
            "verify_sha256": sources.sha256(BUILD / "tests/verify")}


def circumstances() -> dict[str, Any]:
    """Where and when; everything that should not matter to the exact figures."""
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **checkout(),
            "qemu": qemu_version(), "host_cpu": host_cpu(), "host_cpus": os.cpu_count(), "host_kernel": platform.release()}
