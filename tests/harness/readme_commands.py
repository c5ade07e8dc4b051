# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of README.md and docs/hacking.md in a fresh clone: `make test-readme`, some minutes; with README_ALL=1 also those of an hour.

What is built is kept in the cache, as for any checkout. test_readme.py and test_docs.py hold these lists against them.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HARDWARE = "takes a disk of this machine: tests/harness/host.sh does it in a guest (make test, boot \"host\")"
HOUR = "takes long: README_ALL=1"
FIO = ("build/fio --ioengine=external:./build/dmabuf.so --registration=dmabuf --direct=1 --filename=/dev/nvme0n1 --rw=randread --bs=4k "
       "--iodepth=128 --runtime=10 --name=try")
JOB = "DEV=/dev/nvme0n1 ENGINE=external:./build/dmabuf.so REGISTRATION=dmabuf build/fio --runtime=10 jobs/randread-4k.fio"
# Each with what must come of it: a pattern of its output, or why it is not run as it stands, and then what is.
WAYS = {
    "make doctor": r"\n(not )?ready\b",
    "make guest-run CMD='/examples/read $DEV | sha256sum'": r"^[0-9a-f]{64}  -$",
    "make shell": r"guest:.*typed strict",
    "make guest-run FILES='a.out=/root/a.out' CMD='./a.out $DEV' MODE=lazy": r"^hello from a guest: /dev/nvme\d+n1$",
    "make bench": (HOUR, r"holds: dmabuf: no IOMMU"),
    "make cost": (HOUR, r"Goals"),
    "make test": (HOUR, r"\d+ passed, 0 failed"),
    "make engine": "",
    FIO: (HARDWARE, r"dmabuf: job=try registration=dmabuf"),
    "make bench TARGET=host DEV=/dev/nvme0n1": (HARDWARE, None),
    JOB: (HARDWARE, r"dmabuf: job=randread-4k registration=dmabuf"),
}
GDB = ("gdb -ex 'target remote :1234' -ex \"hbreak *0x$(sed -n 's/ T nvme_dmabuf_map_sgt$//p' $(dirname $(readlink -f build/bzImage))/System.map)\" "
       "-ex continue")
TREE = "git -C build/linux "
HACKING = {
    "make kernel-tree": r"tag base and \d+ commits",
    f"{TREE}add -u": "",
    f"{TREE}commit --fixup=COMMIT": ("there is nothing to commit in a fresh clone", None),
    f"GIT_SEQUENCE_EDITOR=true {TREE}rebase -i --autosquash base": "",
    "make kernel-export": "",
    "make kernel-check": r"round trip: \d+ files.*checkpatch: 0001.*: clean",
    "make kernel": r"bzImage$",
    "make kernel-check-all": (HOUR, r"kernel-doc: clean"),
    "make kernel-series": r"a cover letter and \d+ mails",
    "make guest-run CMD='/tests/run.sh $DEV $DEV2 slots'": r"^ok 1 - slots$",
    "make guest-run CMD='/tests/run.sh $DEV slots exporter' MODE=lazy": r"^ok 2 - exporter$",
    "make guest-run CMD='SCALE=10 /tests/run.sh $DEV invalidate' TIMEOUT=1200": (HOUR, r"^ok 1 - invalidate$"),
    "/usr/bin/python3 -m pytest -q tests/host": r"\d+ passed",
    "make test-debug BOOTS=debug-strict": (HOUR, r"\d+ passed, 0 failed"),
    "make guest-run FILES='a.out=/root/a.out' CMD='./a.out $DEV'": r"^hello from a guest",
    "make guest-run CMD='/examples/read $DEV >/dev/null' QEMU_EXTRA='-s -S' TIMEOUT=3600": ("the next one begins it", None),
    GDB: ("two terminals: test_gdb_stops_where_it_is_told", None),
    "build/linux/scripts/decode_stacktrace.sh VMLINUX <build/test/debug-strict/console": ("needs a splat", None),
}


def commands(text):
    """Indented lines of a Markdown text, continued ones as one, without comments."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    lines = re.findall(r"^(?: {4}| {8})(\S.*)$", re.sub(r" *\\\n +", " ", text), re.M)
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    place = tmp_path_factory.mktemp("clone") / "project"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(place)], check=True)
    (place / "a.c").write_text('#include <stdio.h>\nint main(int n, char **v) { return printf("hello from a guest: %s\\n", v[n - 1]) < 0; }\n')
    subprocess.run(["gcc", "-o", "a.out", "a.c"], cwd=place, check=True)
    return place


def in_a_guest(command):
    """The same command on a guest's disk, with its paths there."""
    for here, there in (("./build/dmabuf.so", "/usr/lib/dmabuf.so"), ("build/fio", "fio"), ("jobs/", "/jobs/"), ("/dev/nvme0n1", "$DEV")):
        command = command.replace(here, there)
    return f"make guest-run CMD='{command}'"


@pytest.mark.parametrize("command", WAYS | HACKING)
def test_the_command(clone, command):
    way = (WAYS | HACKING)[command]
    why, pattern = way if isinstance(way, tuple) else ("", way)
    if pattern is None:
        pytest.skip(why)
    if why == HARDWARE:
        command = in_a_guest(command)
    elif why and not os.environ.get("README_ALL"):
        pytest.skip(why)
    typed = "echo typed $MODE\nexit\n" if command == "make shell" else ""
    done = subprocess.run(command, shell=True, cwd=clone, input=typed, capture_output=True, text=True)
    sys.stdout.write(done.stdout[-2000:] + done.stderr[-2000:])
    assert done.returncode == 0 or (command == "make doctor" and "not ready" in done.stdout)
    assert re.search(pattern, done.stdout + done.stderr, re.M | re.S)


def test_gdb_stops_where_it_is_told(clone):
    """The two commands of docs/hacking.md side by side."""
    if not shutil.which("gdb"):
        pytest.skip("no gdb: install the Debian package of that name")
    waits = next(command for command in HACKING if "-s -S" in command)
    asks = f"{GDB.replace('gdb', 'gdb -batch -nx', 1)} -ex 'info registers rip' -ex delete -ex detach"
    guest = subprocess.Popen(waits, shell=True, cwd=clone, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while guest.poll() is None:
            done = subprocess.run(asks, shell=True, cwd=clone, capture_output=True, text=True, timeout=1200)
            if "Connection refused" not in done.stderr:
                break
            time.sleep(5)
        address = re.search(r"breakpoint 1 at (0x[0-9a-f]+)", done.stdout)[1]
        assert re.search(rf"^rip +{address}\b", done.stdout, re.M), done.stdout + done.stderr
        assert guest.wait(timeout=1200) == 0
    finally:
        guest.terminate()


def test_and_the_clone_stays_clean(clone):
    for name in ("a.c", "a.out"):
        (clone / name).unlink()
    assert subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True).stdout == ""
