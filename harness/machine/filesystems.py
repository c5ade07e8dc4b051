# SPDX-License-Identifier: GPL-2.0-or-later
"""The file systems whose files take dma-bufs, as a guest makes them."""

from collections.abc import Iterable
from pathlib import Path

MKFS = {"ext4": "mkfs.ext4 -q -F -E nodiscard", "xfs": "mkfs.xfs -q -f -K"}


def place(name: str) -> str:
    return f"/mnt/{name}"


def mount(name: str, disk: str) -> str:
    """A line of shell: a new one, there."""
    return f"mkdir -p {place(name)} && {MKFS[name]} {disk} && mount -t {name} {disk} {place(name)}"


def programs(*names: str) -> dict[str, Path | bytes]:
    """Of the host's /sbin, for the guest."""
    return {f"/bin/{name}": Path("/sbin") / name for name in names}


def makers(names: Iterable[str]) -> dict[str, Path | bytes]:
    """What makes them, for the guest."""
    return programs(*(MKFS[name].split()[0] for name in names))
