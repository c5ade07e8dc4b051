# SPDX-License-Identifier: GPL-2.0-or-later
"""examples/read.c: as users compile it, and against a kernel made up in data/kernel.h.  example.sh runs it in guests."""

import errno
import os
import re
import shutil
import subprocess

import pytest

from harness.paths import ROOT

SOURCE = ROOT / "examples/read.c"
SIZE = 1 << 20
COMPILE = ("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-I", str(ROOT / "kernel/overlay/include/uapi"))


@pytest.fixture(scope="module")
def program(tmp_path_factory, request):
    place = tmp_path_factory.mktemp("example") / "read"
    subprocess.run([*COMPILE, "-fsanitize=address,undefined", "-D_GNU_SOURCE=", "-include", str(ROOT / "tests/harness/data/kernel.h"),
                    "-o", str(place), str(SOURCE), "-luring"], check=True)
    return place


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk").write_bytes(os.urandom(SIZE + 4096))
    return tmp_path / "disk"


def run(program, *words, **environment):
    return subprocess.run([program, *words], capture_output=True, env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"} | environment, timeout=30)


def test_as_its_own_comment_says(tmp_path):
    """The command in its head, with a compiler that complains; it needs nothing of the checkout at run time."""
    assert "cc -I kernel/overlay/include/uapi -o read examples/read.c -luring" in SOURCE.read_text()
    subprocess.run([*COMPILE, "-o", str(tmp_path / "read"), str(SOURCE), "-luring"], check=True)
    for words, status, says in (((), 2, b"usage: read DEVICE"), (("/nonexistent",), 1, b"No such file")):
        done = subprocess.run([tmp_path / "read", *words], capture_output=True)
        assert done.returncode == status and says in done.stderr and done.stdout == b""


def test_its_readme_compiles_it_in_a_fresh_clone(tmp_path):
    """Where there is no build/ yet."""
    for name in ("examples", "kernel/overlay/include"):
        shutil.copytree(ROOT / name, tmp_path / "clone" / name)
    command = re.search(r"^    (cc .*)$", (ROOT / "examples/README.md").read_text(), re.M)[1]
    subprocess.run(command.replace("/tmp/", f"{tmp_path}/"), shell=True, cwd=tmp_path / "clone", check=True)
    assert subprocess.run([tmp_path / "read"], capture_output=True).returncode == 2


def test_it_can_be_read_at_once():
    assert len(SOURCE.read_text().splitlines()) <= 100


def test_the_bytes_are_those_of_the_disk(program, disk):
    done = run(program, disk)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout == disk.read_bytes()[:SIZE]


def test_a_mapping_that_was_taken_away_is_waited_out(program, disk):
    done = run(program, disk, FAILS=f"{errno.EAGAIN} {errno.EAGAIN} {errno.EAGAIN}")
    assert done.returncode == 0 and done.stdout == disk.read_bytes()[:SIZE]


@pytest.mark.parametrize("environment, says", (
    ({"REFUSED": str(errno.EINVAL)}, b"this kernel cannot register dma-bufs, boot one that can"),
    ({"REFUSED": str(errno.EOPNOTSUPP)}, b"this device takes no dma-bufs, it must be an NVMe disk on PCIe"),
    ({"REFUSED": str(errno.ENOMEM)}, b"registering the dma-buf: Cannot allocate memory"),
    ({"FAILS": str(errno.EIO)}, b"read 0 of 1048576 bytes: Input/output error"),
    ({"FAILS": f"{errno.EAGAIN} {errno.ENODEV}"}, b"No such device"),
))
def test_what_fails_is_one_sentence(program, disk, environment, says):
    done = run(program, disk, **environment)
    assert done.returncode == 1 and says in done.stderr and done.stderr.count(b"\n") == 1 and done.stdout == b""


def test_a_device_that_is_too_small_is_told(program, tmp_path):
    (tmp_path / "small").write_bytes(b"x" * 5000)
    done = run(program, tmp_path / "small")
    assert done.returncode == 1 and b"read 5000 of 1048576 bytes: the device ends there" in done.stderr
