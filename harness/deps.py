# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages that building, booting and plotting need."""

import os
import subprocess

from .fault import Fault

PACKAGES = (
    "bc", "bison", "btrfs-progs", "busybox-static", "ccache", "curl", "debian-archive-keyring", "dpkg-dev", "flex", "gcc", "git",
    "libaio-dev", "libc6-dev", "libdrm-dev", "libelf-dev", "liburing-dev", "make", "perl", "python3-matplotlib", "python3-numpy",
    "python3-pytest", "python3-scipy", "qemu-system-x86", "sparse", "strace", "valgrind", "xfsprogs", "xz-utils", "zlib1g-dev",
)
# For the guest of another processor, which few need.
ARM64 = ("device-tree-compiler", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-system-arm")


def missing(packages: tuple[str, ...]) -> list[str]:
    query = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages],
                           capture_output=True, text=True)
    installed = {line.split()[1] for line in query.stdout.splitlines() if line.startswith("installed ")}
    return [package for package in packages if package not in installed]


def install(more: tuple[str, ...] = ()) -> None:
    """Cheap when everything is there; otherwise needs root and a package mirror."""
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
