# SPDX-License-Identifier: GPL-2.0-or-later
"""What is typed at make arrives at the harness as it was typed."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(*words):
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return shlex.split(done.stdout.replace("\\\n", " "))


@pytest.mark.parametrize("command", ("echo $DEV $(uname) \"it's\"", "one\ntwo", "-x", "a # b"))
def test_the_command_is_not_touched(command):
    assert make("guest-run", f"CMD={command}")[-2:] == ["--", command]


def test_variables_become_options():
    words = make("guest-run", "CMD=x", "MODE=lazy", "ICOUNT=1", "DISK=512M", "APPEND=a=b c")
    assert {"--mode=lazy", "--icount", "--disk=512M", "--append=a=b c"} <= set(words)
    assert "--icount" not in make("guest-run", "CMD=x", "ICOUNT=0")
    assert "--short" in make("bench", "BENCH=short")


def harness(*words):
    return subprocess.run([sys.executable, "-m", "harness", *words], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("words", (
    ("guest-run", "--mode=fast", "true"),
    ("guest-run", "--kernel=/nonexistent", "true"),
    ("bench", "--jobs=nothing"),
    ("bench", "--registrations=user magic"),
    ("bench", "--columns=vtd magic"),
    ("bench", "--columns=unpatched", "--base=/nonexistent"),
    ("bench", "--kernel=/nonexistent"),
    ("bench", "--target=host"),
    ("bench", "--target=host", "--dev=/dev/null"),
    ("bench", "--target=host", "--dev=/dev/null", "--columns=amd"),
    ("bench", "--dev=/dev/nvme0n1"),
    ("guest-run", "--iommu=magic", "true"),
    ("guest-run", "--timeout=soon", "true"),
    ("guest-run", "--files='open", "true"),
    ("plot", "/nonexistent"),
    ("nonsense",),
))
def test_bad_input_is_one_sentence_and_a_status_of_our_own(words):
    done = harness(*words)
    assert done.returncode == 240
    assert done.stderr.startswith("harness: ") and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_every_verb_explains_itself():
    verbs = [line.split()[0] for line in harness("--help").stdout.splitlines() if line.startswith("    ")
             and not line.startswith("     ")]
    assert len(verbs) >= 9
    for verb in verbs:
        assert harness(verb, "--help").returncode == 0


def test_nothing_outlives_make(tmp_path):
    """SIGKILL for make alone: the harness and its QEMU follow."""
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(b"no kernel")
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "qemu-system-x86_64").write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 60\n")
    (fake / "qemu-system-x86_64").chmod(0o755)
    process = subprocess.Popen(["make", "guest-run", f"KERNEL={kernel}", "CMD=true"], cwd=ROOT,
                               # a cache of its own: guests wait there for a processor
                               env=os.environ | {"PATH": f"{fake}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)})
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    qemu = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    while Path(f"/proc/{qemu}").exists():
        assert time.monotonic() < deadline, "QEMU outlived make"
        time.sleep(0.05)


def test_a_full_disk_is_one_sentence(tmp_path):
    """A file system of one page."""
    script = (f"mount -t tmpfs -o size=4k tmpfs {tmp_path} && "
              f"TMPDIR={tmp_path} {sys.executable} -m harness guest-run --kernel=/etc/hostname true")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 240
    assert "No space left on device: make room in " in done.stderr.splitlines()[-1]
