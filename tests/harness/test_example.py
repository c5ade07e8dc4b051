# SPDX-License-Identifier: GPL-2.0-or-later
"""examples/: as users compile it, and against a kernel made up in data/kernel.h.  example.sh and tests/kernel/header.c run it in guests."""

import errno
import os
import re
import shutil
import subprocess

import pytest

from harness.paths import ROOT

SOURCE, HEADER, PAGE = ROOT / "examples/read.c", ROOT / "examples/dmabuf_register.h", ROOT / "docs/man/io_uring_register_dmabuf.3"
SIZE = 1 << 20
COMPILE = ("gcc", "-O2", "-Wall", "-Wextra", "-Werror")
FAKED = ("-D_GNU_SOURCE=", "-fno-strict-aliasing", "-I", str(ROOT / "kernel/overlay/include/uapi"), "-include", str(ROOT / "tests/harness/data/kernel.h"))


@pytest.fixture(scope="module")
def program(tmp_path_factory, request):
    place = tmp_path_factory.mktemp("example") / "read"
    subprocess.run([*COMPILE, "-fsanitize=address,undefined", *FAKED, "-o", str(place), str(SOURCE), "-luring"], check=True)
    return place


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk").write_bytes(os.urandom(SIZE + 4096))
    return tmp_path / "disk"


def run(program, *words, **environment):
    return subprocess.run([program, *words], capture_output=True, env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"} | environment, timeout=30)


def test_as_its_own_comment_says(tmp_path):
    """The command in its head, with a compiler that complains; it needs nothing of the checkout at run time."""
    assert "cc -o read examples/read.c -luring" in SOURCE.read_text()
    subprocess.run([*COMPILE, "-o", str(tmp_path / "read"), str(SOURCE), "-luring"], check=True)
    for words, status, says in (((), 2, b"usage: read DEVICE"), (("/nonexistent",), 1, b"No such file")):
        done = subprocess.run([tmp_path / "read", *words], capture_output=True)
        assert done.returncode == status and says in done.stderr and done.stdout == b""


def test_its_readme_compiles_it_in_a_fresh_clone(tmp_path):
    """Where there is no build/ yet."""
    shutil.copytree(ROOT / "examples", tmp_path / "clone/examples")
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
    ({"REFUSED": str(errno.EINVAL)}, b"registering the dma-buf: this kernel cannot register dma-bufs"),
    ({"REFUSED": str(errno.EOPNOTSUPP)}, b"registering the dma-buf: this file takes no dma-bufs, or not this one; an NVMe disk on PCIe does"),
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


PROGRAM = """#include "dmabuf_register.h"
#include <stdio.h>
int main(void)
{
	struct io_uring ring;
	int ret = io_uring_probe_dmabuf();

	printf("%d", ret);
	if (ret != 1 || io_uring_queue_init(1, &ring, 0))
		return 0;
	return io_uring_register_dmabuf(&ring, 0, 0, 0, 1) && io_uring_clear_dmabuf(&ring, 0) &&
	       io_uring_clone_dmabufs(&ring, 0, &ring, 0, 1) && io_uring_dmabuf_strerror(ret);
}
"""
LANGUAGES = [("gcc", "c99"), ("gcc", "gnu17"), ("g++", "c++11")]


@pytest.mark.parametrize("compiler, standard", LANGUAGES)
def test_the_header_is_right_in_each_language(tmp_path, compiler, standard):
    """As -Wall -Wextra -Werror -pedantic see it, in a program that uses it before anything else is included."""
    (tmp_path / "a.c").write_text(PROGRAM)
    subprocess.run([compiler, f"-std={standard}", "-x", "c++" if "+" in standard else "c", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic",
                    *(() if "+" in standard else ("-D_GNU_SOURCE",)), "-I", str(HEADER.parent), "-o", str(tmp_path / "a"), str(tmp_path / "a.c"),
                    "-luring"], check=True)
    # Whatever this machine's kernel can, it is asked and answers.
    done = subprocess.run([tmp_path / "a"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and re.fullmatch(r"[01]|-(1|12|38)", done.stdout)


@pytest.mark.parametrize("environment, says", [
    ({}, "1"), ({"REFUSED": str(errno.EINVAL)}, "0"), ({"REFUSED": str(errno.EOPNOTSUPP)}, "0"), ({"RING": str(errno.ENOSYS)}, "0"),
    ({"RING": str(errno.EPERM)}, str(-errno.EPERM)), ({"REFUSED": str(errno.ENOMEM)}, str(-errno.ENOMEM))])
def test_the_probe_tells_kernels_apart(tmp_path, environment, says):
    (tmp_path / "a.c").write_text(PROGRAM.replace("if (ret", "if (1 || ret"))
    subprocess.run([*COMPILE, "-Wno-unused-function", *FAKED, "-I", str(HEADER.parent), "-o", str(tmp_path / "a"), str(tmp_path / "a.c"), "-luring"],
                   check=True)
    assert run(tmp_path / "a", **environment).stdout.decode() == says


def errors(text):
    return set(re.findall(r"-E[A-Z0-9]+", text))


def test_the_manual_page_has_each_error_that_the_kernel_documents():
    """The two tables of the kernel's own document, and what tests provoke when registering."""
    registering, request = re.search(r"\.SS Of registering\n(.*)\.SS Of a request\n(.*)\.SH NOTES", PAGE.read_text(), re.S).groups()
    tables = re.findall(r"^=+ =+\n(``-E.*?)\n=+ =+$", (ROOT / "kernel/overlay/Documentation/driver-api/dma-buf-io.rst").read_text(), re.S | re.M)
    assert len(tables) == 2 and errors(tables[0]) and errors(tables[1])
    assert errors(tables[0]) <= errors(registering) and errors(tables[1]) <= errors(request)
    assert errors((ROOT / "tests/kernel/register_errors.c").read_text()) <= errors(registering)


def test_the_manual_page_has_the_calls_of_the_header():
    page, header = PAGE.read_text(), HEADER.read_text()
    calls = re.findall(r"^static inline (?:int|const char \*)\s?(io_uring_\w+)\((.*)\)$", header, re.M)
    synopsis = re.sub(r"\s+", " ", re.sub(r"\\f[IPR]", "", re.search(r"\.SH SYNOPSIS\n(.*?)\.fi", page, re.S)[1]))
    assert len(calls) == 5 and all(f"{name}({arguments});" in synopsis for name, arguments in calls)
    assert sorted(re.findall(r"io_uring_\w+", re.search(r"\.SH NAME\n(.*?)\\-", page, re.S)[1])) == sorted(name for name, _ in calls)


def test_the_manual_page_has_the_descriptor():
    def fields(text):
        return re.findall(r"__([us]\d+)\s+(\w+(?:\[\d\])?);", re.search(r"struct io_uring_regbuf_desc \{(.*?)\}", text, re.S)[1])
    there = fields((ROOT / "kernel/overlay/include/uapi/linux/io_uring/dmabuf.h").read_text())
    assert len(there) == 7 and fields(PAGE.read_text()) == there
    assert [name for _, name in fields(PAGE.read_text())][:-1] == re.findall(
        r"\t(\w+);", re.search(r"struct dmabuf_register_desc \{(.*?)\}", HEADER.read_text(), re.S)[1])


def test_the_manual_page_is_a_manual_page():
    done = subprocess.run(["groff", "-man", "-ww", "-z", PAGE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("mandoc"):
        assert subprocess.run(["mandoc", "-T", "lint", "-W", "style", PAGE], capture_output=True, text=True).stdout == ""
