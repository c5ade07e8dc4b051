# SPDX-License-Identifier: GPL-2.0-or-later
"""Every row of options.py through fio's io_uring engine and through ours: `make test-engine`, as it takes minutes."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess

import pytest

from options import FAILS, REFUSED, ROWS, SAME, WORKS
from test_engine import CACHE, MAKE, engine, fio_src, io_uring, loop, summary  # noqa: F401: fixtures

JOB = ("--name=job", "--size=4m", "--direct=1", "--bs=4k", "--iodepth=8", "--fallocate=none", "--filename=f",
       "--output-format=json", "--verify_state_save=0")


@pytest.fixture(scope="session")
def prepared(fio_src, tmp_path_factory):
    """A file to read, one that was written with checksums, and a log to replay."""
    place = tmp_path_factory.mktemp("prepared")
    write = [fio_src / "fio", "--ioengine=psync", "--name=job", "--bs=4k", "--size=4m", "--rw=randwrite", "--direct=1"]
    for more in (["--filename=f"],
                 ["--filename=written", "--verify=crc32c", "--do_verify=0", "--randseed=9", "--verify_state_save=0"],
                 ["--filename=f", "--rw=randrw", "--size=1m", "--write_iolog=replay"]):
        subprocess.run([*write, *more], check=True, capture_output=True, cwd=place)
    return place


def limit_files():
    """A write that goes over this is short, and the next one fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((1 << 20) - (36 << 10), resource.RLIM_INFINITY))


def figures(done):
    """What both engines must agree on."""
    jobs = json.loads(done.stdout[done.stdout.index("{"):])["jobs"]
    return [(job["error"], job.get("total_err"), *((job[way]["total_ios"], job[way]["io_bytes"], job[way]["drop_ios"],
                                                    len(job[way].get("prios", ()))) for way in ("read", "write", "trim")))
            for job in jobs]


@pytest.fixture(scope="session")
def later(tmp_path_factory):
    """A fio that has the options which fio_src lacks, and the engine for it."""
    tree = CACHE / "src/fio-3.41"
    if not (tree / "fio").exists():
        pytest.skip("no later fio, which `make check-abi` gets and builds")
    out = tmp_path_factory.mktemp("later")
    subprocess.run([*MAKE, f"FIO_SRC={tree}", f"O={out}"], check=True, capture_output=True)
    return tree, out / "dmabuf.so"


@pytest.fixture
def both(io_uring, prepared, tmp_path, request):
    """Run a row through an engine, in a fresh copy of what was prepared."""
    def run(tree, row, name, *more):
        place = shutil.copytree(prepared, tmp_path / re.sub(r"\W", "", name), dirs_exist_ok=True)
        args = [*JOB, *row.args.split(), *more]
        if row.on == "loop":
            args.append(f"--filename={request.getfixturevalue('loop')}")
        args = [arg for n, arg in enumerate(args) if not arg.startswith("--filename=")
                or (arg != "--filename=" and arg == [a for a in args if a.startswith("--filename=")][-1])]
        fio = subprocess.Popen([tree / "fio", f"--ioengine={name}", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, cwd=place, start_new_session=True,
                               preexec_fn=limit_files if row.slug == "short-write" else None)
        try:
            out, err = fio.communicate(timeout=60)
        finally:  # a job that hangs is a child of its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(fio.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(fio.args, fio.returncode, out, err)
    return run


def ioops_version(fio_src):
    return int(re.search(r"FIO_IOOPS_VERSION\s+(\d+)", (fio_src / "ioengines.h").read_text())[1])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_option(both, fio_src, engine, row, request):
    tree, so = request.getfixturevalue("later") if row.since > ioops_version(fio_src) else (fio_src, engine)
    ours = both(tree, row, f"external:{so}", *row.only_to_us.split())
    theirs = both(tree, row, "io_uring")
    for done, expected in ((theirs, row.theirs), (ours, row.ours)):
        assert "got signal" not in done.stdout + done.stderr
        assert (done.returncode == 0) == (expected in (SAME, WORKS)), done.stderr
    if row.ours == REFUSED:
        assert re.search(re.escape(row.says), ours.stderr), ours.stderr
        assert not summary(ours)
    elif row.ours in (SAME, FAILS):
        assert figures(ours) == figures(theirs)
    if row.slug == "short-write":
        assert re.search(r'"short_ios" : [1-9]', ours.stdout), "no short write came about"
    if row.ours in (SAME, WORKS):
        assert summary(ours) and sum(direction[0] for job in figures(ours) for direction in job[2:])


def test_every_option_of_io_uring_has_a_row(fio_src):
    """The built-in engine's list, asked of the fio that runs."""
    said = subprocess.run([fio_src / "fio", "--enghelp=io_uring"], capture_output=True, text=True).stdout
    names = re.findall(r"^(\w+) +: ", said, re.M)
    assert "sqthread_poll" in names
    assert [name for name in names if not any(f"--{name}" in row.args for row in ROWS)] == []
