# SPDX-License-Identifier: GPL-2.0-or-later
"""dmabuf-check on this host, whatever its kernel; tests/engine/check.sh has the guest's part."""

import errno
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from test_engine import BUFFERS_UPDATE as UPDATE
from test_engine import IO_URING_REGISTER, IO_URING_SETUP, MAKE, OPENAT, ROOT, deny_syscall

BUFFERS2 = 15  # IORING_REGISTER_BUFFERS2


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    out = tmp_path_factory.mktemp("check")
    subprocess.run([*MAKE, f"O={out}", out / "dmabuf-check"], check=True)

    def run(*args, deny=None):
        return subprocess.run([out / "dmabuf-check", *args], capture_output=True, text=True, timeout=20,
                              preexec_fn=deny and (lambda: deny_syscall(*deny)))
    run.program = out / "dmabuf-check"
    return run


def findings(done):
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["ready"] else 1) and not done.stderr
    assert said["ready"] == all(finding["verdict"] != "missing" for finding in said["findings"])
    assert [f["name"] for f in said["findings"] if f["verdict"] == "missing" and not f["next"]] == []
    return {finding["name"]: finding for finding in said["findings"]}


@pytest.mark.parametrize("deny, says, step", [
    ((IO_URING_SETUP, errno.EPERM), "io_uring is not available", "io_uring_disabled"),
    ((IO_URING_SETUP, errno.ENOMEM), "io_uring is not available: Cannot allocate", "^raise the memlock limit"),
    ((IO_URING_SETUP, errno.EMFILE), "io_uring is not available: Too many", "^raise the limit on open files"),
    ((IO_URING_REGISTER, errno.ENOMEM, 1, BUFFERS2), "cannot tell", "^raise the memlock limit"),
    ((IO_URING_REGISTER, errno.EBADF, 1, UPDATE), "registers dma-bufs", None),
    ((IO_URING_REGISTER, errno.EOPNOTSUPP, 1, UPDATE), "not built in", "CONFIG_DMA_SHARED_BUFFER"),
    ((IO_URING_REGISTER, errno.EINVAL, 1, UPDATE), "does not know", "boot a kernel"),
    ((IO_URING_REGISTER, errno.EPERM, 1, UPDATE), "cannot tell: .*not permitted", "root"),
], ids=["no-ring", "memlock", "files", "memlock-of-the-table", "ready", "not-built", "old", "odd"])
def test_kernel(check, deny, says, step):
    """Each answer that a kernel can give, given by a filter in its place."""
    kernel = findings(check("--json", deny=deny))["kernel"]
    assert re.search(says, kernel["value"])
    assert re.search(step, kernel["next"]) if step else kernel["next"] is None
    assert (kernel["verdict"] == "good") == (step is None)


@pytest.mark.parametrize("error, step", [
    (errno.EPERM, "^run as root, or as one"), (errno.EACCES, "^run as root, or as one"), (errno.ENOENT, "^load udmabuf"),
    (errno.EMFILE, "^raise the limits")], ids=errno.errorcode.get)
def test_udmabuf(check, error, step):
    """Why it makes nothing, by a filter on what opens for reading and writing."""
    rows = findings(check("--json", deny=(OPENAT, error, 2, os.O_RDWR | os.O_CLOEXEC)))
    assert re.search(step, rows["udmabuf"]["next"]) and os.strerror(error) in rows["udmabuf"]["value"]
    assert "sources" not in rows or re.search(step, rows["sources"]["next"])


@pytest.mark.parametrize("there, value", [("vfio devices/vfio0", "none in /dev/vfio"), ("vfio 7 devices/vfio0", "/dev/vfio: 7"), ("12", "/dev/vfio: 12")],
                         ids=["cdev", "both", "group"])
def test_vfio_is_what_the_engine_opens(check, tmp_path, there, value):
    """A group; not the character device of each device, and not what all groups share."""
    if os.geteuid():
        pytest.skip("only root mounts a /dev of its own")
    dev = tmp_path / "dev"
    for name in there.split():
        (dev / "vfio" / name).parent.mkdir(parents=True, exist_ok=True)
        (dev / "vfio" / name).touch()
    done = subprocess.run(["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /dev && exec "$2" --json', "sh", dev, check.program],
                          capture_output=True, text=True, timeout=20)
    assert findings(done)["vfio"]["value"] == value


@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES], ids=errno.errorcode.get)
def test_device_that_may_not_be_opened(check, error):
    device = findings(check("--json", "/dev/null", deny=(OPENAT, error, 2, os.O_DIRECT | os.O_CLOEXEC)))["device"]
    assert device["next"].startswith("run as root")


@pytest.mark.parametrize("name, printed", [(b"/dev/\xff\xfe", "/dev/\ufffd\ufffd"), ("/dev/ä€😀".encode(), "/dev/ä€😀"),
                                           (b"/dev/\xed\xa0\x80\xc0\xaf", "/dev/" + 5 * "\ufffd"), (b'/dev/"\\\x01', '/dev/"\\\x01'),
                                           (b"/dev/\xe2\x82", "/dev/\ufffd\ufffd")], ids=repr)
def test_json_of_any_name(check, name, printed):
    assert f"cannot open {printed}:" in findings(check("--json", name))["device"]["value"]


def test_text_says_the_same(check):
    done, rows = check(), findings(check("--json"))
    for finding in rows.values():
        assert finding["value"] in done.stdout
        assert not finding["next"] or f"next: {finding['next']}" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("ready" if done.returncode == 0 else "not ready")


@pytest.mark.parametrize("device, says", [
    ("/dev/nowhere", "cannot open /dev/nowhere: No such file"), ("/dev/null", "cannot open|neither a block device nor a file and takes no NVMe commands"),
    ("/proc", "cannot open /proc:"),
])
def test_no_device(check, device, says):
    device = findings(check("--json", device))["device"]
    assert device["verdict"] == "missing" and re.search(says, device["value"])


def test_a_device_off_pci(check, tmp_path):
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 1 << 20)
    done = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    try:
        rows = findings(check("--json", done.stdout.strip()))
        assert rows["device"]["value"].endswith("is not on PCI")
        assert "logical_block_size=512" in rows["queue"]["value"]
    finally:
        subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


@pytest.mark.parametrize("args", [("--nonsense",), ("a", "b"), ("--exporter=00:01.0",), ("--exporter",)])
def test_usage(check, args):
    done = check(*args)
    assert (done.returncode, done.stdout) == (2, "") and "usage: dmabuf-check" in done.stderr


@pytest.mark.parametrize("page", sorted((ROOT / "engines").glob("*.[78]")), ids=lambda page: page.name)
def test_man_page(page):
    """mandoc's opinion, but for pages that are not installed."""
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc: install the Debian package of that name")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", page], capture_output=True, text=True)
    assert [line for line in done.stdout.splitlines() if "referenced manual not found" not in line
            and "mandoc.db" not in line] == []


def test_man_page_has_every_flag(check):
    page = (ROOT / "engines/dmabuf-check.8").read_text()
    for flag in re.findall(r"--(\w+)", check("--help").stdout):
        assert f"Fl Fl {flag}" in page
