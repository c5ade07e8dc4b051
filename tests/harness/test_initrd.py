# SPDX-License-Identifier: GPL-2.0-or-later
"""The archive is what the kernel's unpacker expects: checked with an unpacker that is not ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.fault import Fault
from harness.machine import initrd


def unpack(archive, where):
    subprocess.run(["busybox", "cpio", "-idm"], input=archive, cwd=where, check=True, capture_output=True)


def test_files_parents_and_modes_arrive(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"odd length")
    plain.chmod(0o644)
    where = tmp_path / "out"
    where.mkdir()
    unpack(initrd.cpio({"/a/b/plain": plain, "/command": b"exit 3\n", "/empty": b""}), where)
    assert (where / "a/b/plain").read_bytes() == b"odd length"
    assert (where / "command").read_bytes() == b"exit 3\n"
    assert (where / "empty").read_bytes() == b""
    assert os.access(where / "command", os.X_OK)
    assert not (where / "a/b/plain").stat().st_mode & 0o111


def test_same_files_same_bytes(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    first = initrd.cpio({"/b": file, "/a": b"y"})
    os.utime(file, (0, 0))
    assert initrd.cpio({"/a": b"y", "/b": file}) == first


def test_a_dynamic_program_brings_its_libraries_and_loader():
    found = initrd.with_libraries({"/bin/python": Path(sys.executable).resolve()})
    names = {Path(name).name for name in found}
    assert "libc.so.6" in names
    assert any(name.startswith("ld-linux") for name in names)


def test_a_static_program_brings_nothing():
    assert list(initrd.with_libraries({"/bin/busybox": Path("/bin/busybox")})) == ["/bin/busybox"]


def test_a_missing_library_is_named(tmp_path):
    (tmp_path / "l.c").write_text("int gone(void) { return 0; }")
    (tmp_path / "p.c").write_text("int gone(void); int main(void) { return gone(); }")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "libgone.so", "l.c"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "-o", "p", "p.c", "-L.", "-lgone"], cwd=tmp_path, check=True)
    with pytest.raises(Fault, match="libgone.so"):
        initrd.with_libraries({"/p": tmp_path / "p"})
