# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine with each liburing that Debian has: the harness puts them beside fio in its cache.

That a release sets up a ring in another way must not matter, as 2.6 did, whose rings have no array of indices.
"""

import re
import subprocess

import pytest

from test_engine import CACHE, JOB, MAKE, ROOT, fio, fio_src, io_uring, succeeded, summary  # noqa: F401: fixtures

ROOTS = sorted((CACHE / "src").glob("liburing-*"))


@pytest.fixture(scope="module", params=ROOTS or [None], ids=lambda root: root.name if root else "none")
def liburing(request):
    if not request.param:
        pytest.skip(f"no liburing in {CACHE / 'src'}: `make test-engine` and `make test` get them")
    return request.param


@pytest.fixture(scope="module")
def headers(liburing):
    """Its own, and the kernel's that Debian has with them."""
    return [f"-isystem{liburing}/usr/include", *(f"-isystem{path.parent}" for path in liburing.glob("usr/include/*-linux-gnu/asm"))]


@pytest.fixture(scope="module")
def archive(liburing):
    found, = liburing.glob("usr/lib/*/liburing.a")
    return found


@pytest.fixture(scope="module")
def engine(fio_src, liburing, headers, archive, tmp_path_factory):
    """Built with the headers and the library of that release and no other."""
    out = tmp_path_factory.mktemp("engine")
    done = subprocess.run([*MAKE, f"FIO_SRC={fio_src}", f"O={out}", f"CFLAGS=-O2 -g {' '.join(headers)}",
                           f"LDFLAGS=-L{archive.parent} -Wl,--trace"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert str(archive) in done.stdout
    return out / "dmabuf.so"


@pytest.mark.parametrize("registration", ["none", "user"])
@pytest.mark.parametrize("how", [(), ("--sqthread_poll",), ("--registerfiles=0", "--thread=1", "--numjobs=2"), ("--fsync=4", "--iodepth=3")],
                         ids=lambda how: "".join(how) or "plain")
def test_data(fio, registration, how):
    done = succeeded(fio(*JOB, "--size=1m", f"--registration={registration}", "--rw=randrw", "--verify=crc32c",
                         "--verify_fatal=1", *how))
    assert summary(done)[0]["registration"] == registration


def test_ring(headers, tmp_path):
    """ring.c on a kernel that the test plays, with this release's inline functions."""
    subprocess.run(["cc", "-g", "-O1", "-Wall", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-D_GNU_SOURCE",
                    *headers, f"-I{ROOT}/engines", f"-I{ROOT}/kernel/overlay/include/uapi", "-o", tmp_path / "ring",
                    f"{ROOT}/tests/engine/ring_test.c", f"{ROOT}/engines/ring.c"], check=True)
    subprocess.run([tmp_path / "ring"], check=True)


def test_it_is_that_release(liburing):
    """The directory's name is what its header says, where that says it (since 2.4)."""
    header = liburing / "usr/include/liburing/io_uring_version.h"
    if header.exists():
        said = re.findall(r"IO_URING_VERSION_(?:MAJOR|MINOR) (\d+)", header.read_text())
        assert f"liburing-{'.'.join(said)}" == liburing.name
