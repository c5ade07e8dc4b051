# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages that building, booting and plotting need."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from .fault import Fault

PACKAGES = (
    "bc", "bison", "btrfs-progs", "busybox-static", "ccache", "curl", "debian-archive-keyring", "dpkg-dev", "flex", "gcc", "git",
    "libaio-dev", "libc6-dev", "libdrm-dev", "libelf-dev", "liburing-dev", "make", "perl", "python3-matplotlib", "python3-numpy",
    "python3-pytest", "python3-scipy", "python3-yaml", "qemu-system-x86", "sparse", "valgrind", "xfsprogs", "xz-utils", "zlib1g-dev",
)
# For the guest of another processor, which few need.
ARM64 = ("device-tree-compiler", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-system-arm")


# What of them is used, where packages have other names.
COMMANDS = ("bc", "bison", "busybox", "ccache", "chrt", "flex", "gcc", "git", "ldd", "make", "perl", "qemu-system-x86_64", "setpriv",
            "tar", "taskset", "xz")
MODULES = ("matplotlib", "numpy", "pytest", "scipy")
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


def install(more: tuple[str, ...] = ()) -> None:
    """Cheap when everything is there; otherwise needs root and a package mirror."""
    if not shutil.which("dpkg-query"):
        if lacks := lacking():
            raise Fault(f"this is no Debian, so install what is missing by its name there: {' '.join(lacks)}")
        return
    if not (packages := missing(PACKAGES + more)):
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        raise Fault(f"{len(packages)} packages are missing: run `sudo {' '.join(command)}`")
    print(f"deps: installing {' '.join(packages)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["apt-get", "-q", "update"], command):
        done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Fault(f"apt-get could not install {' '.join(packages)}: {done.stderr.strip().splitlines()[-1]}")
