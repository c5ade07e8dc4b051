# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's root: one deterministic cpio archive of files and what they link to."""

import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..fault import Fault

Files = Mapping[str, Path | bytes]  # absolute guest path -> host file or content


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries(path: Path) -> dict[str, Path]:
    """The shared objects that a dynamically linked file needs, loader included."""
    ldd = subprocess.run(["ldd", str(path)], capture_output=True, text=True)
    if ldd.returncode:  # static, or of another architecture
        return {}
    found = {}
    for line in ldd.stdout.splitlines():
        name, _, target = line.strip().partition(" => ")
        if target.startswith("not found"):
            raise Fault(f"{path} needs {name}, which this machine lacks: install it or link statically")
        library = (target or name).split(" (")[0].strip()
        if library.startswith("/"):
            found[library] = Path(library)
    return found


def with_libraries(files: Files) -> dict[str, Path | bytes]:
    full: dict[str, Path | bytes] = {}
    for source in files.values():
        if isinstance(source, Path) and is_elf(source):
            full.update(libraries(source))
    return full | dict(files)


def entry(name: str, mode: int, data: bytes, inode: int) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def cpio(files: Files) -> bytes:
    """Same files, same bytes: no times, no owners, sorted, parents first."""
    directories = {str(parent) for name in files for parent in PurePosixPath(name).parents} - {"/"}
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in directories]
    for name, source in files.items():
        data = source if isinstance(source, bytes) else source.read_bytes()
        executable = isinstance(source, bytes) or source.stat().st_mode & 0o111
        entries.append((name, stat.S_IFREG | (0o755 if executable else 0o644), data))
    body = b"".join(entry(name.lstrip("/"), mode, data, inode)
                    for inode, (name, mode, data) in enumerate(sorted(entries), 1))
    return body + entry("TRAILER!!!", 0, b"", 0)
