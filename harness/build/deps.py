# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages that building, booting and plotting need."""

import importlib.util
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from ..fault import Fault

PACKAGES = (
    "bc", "bison", "btrfs-progs", "busybox-static", "ccache", "curl", "debian-archive-keyring", "dpkg-dev", "e2fsprogs", "flex", "g++", "gcc", "git", "groff-base",
    "libaio-dev", "libc6-dev", "libdrm-dev", "libelf-dev", "liburing-dev", "make", "perl", "python3-jinja2", "python3-matplotlib", "python3-numpy",
    "python3-pytest", "python3-scipy", "python3-yaml", "qemu-system-x86", "sparse", "strace", "valgrind", "xfsprogs", "xz-utils", "zlib1g-dev",
)
LOCK_S = 600
# For the guest of another processor, which few need.
ARM64 = ("device-tree-compiler", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-system-arm")
# For volumes and arrays in the guests of `make test-engine`; they have services.
STACKS = ("dmsetup", "lvm2", "mdadm")
# For the package of the engine.
DEB = ("build-essential", "debhelper", "libaio-dev", "libdrm-dev", "liburing-dev", "zlib1g-dev")


# What of them is used, where packages have other names.
COMMANDS = ("bc", "bison", "busybox", "ccache", "chrt", "flex", "gcc", "git", "ldd", "make", "perl", "qemu-system-x86_64", "setpriv",
            "tar", "taskset", "xz")
MODULES = ("jinja2", "matplotlib", "numpy", "pytest", "scipy")
HEADERS = ("libaio.h", "libdrm/drm.h", "libelf.h", "liburing.h", "zlib.h")


def lacking() -> list[str]:
    """What this machine, whatever it is, does not have."""
    headers = [name for name in HEADERS if not any((place / name).exists() for place in (Path("/usr/include"), Path("/usr/local/include")))]
    return [*(name for name in COMMANDS if not shutil.which(name)), *headers,
            *(f"python3-{name}" for name in MODULES if importlib.util.find_spec(name) is None)]


def missing(packages: tuple[str, ...]) -> list[str]:
    query = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages],
                           capture_output=True, text=True)
    installed = {line.split()[1] for line in query.stdout.splitlines() if line.startswith("installed ")}
    return [package for package in packages if package not in installed]


def patiently(argv: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Wait for another apt: it can be told to for dpkg's lock, not for that of the package lists."""
    deadline, told = time.monotonic() + LOCK_S, False
    while True:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True)
        if not done.returncode or not re.search(r"Could not get lock|is held by", done.stderr) or time.monotonic() > deadline:
            return done
        if not told:
            print("deps: waiting for another apt or dpkg to finish", flush=True)
        told = True
        time.sleep(2)


def install(more: tuple[str, ...] = (), alone: bool = False) -> None:
    """Cheap when everything is there; otherwise needs root and a package mirror. `alone`: nothing but `more`."""
    if not shutil.which("dpkg-query"):
        if lacks := lacking():
            raise Fault(f"this is no Debian, so install what is missing by its name there: {' '.join(lacks)}")
        return
    if not (packages := missing(more if alone else PACKAGES + more)):
        return
    command = ["apt-get", "install", "-o", f"DPkg::Lock::Timeout={LOCK_S}", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        raise Fault(f"{len(packages)} packages are missing: run `sudo {' '.join(command)}`")
    print(f"deps: installing {' '.join(packages)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["apt-get", "-q", "update"], command):
        done = patiently(argv, environment)
    if done.returncode:
        raise Fault(f"apt-get could not install {' '.join(packages)}: {done.stderr.strip().splitlines()[-1]}")
