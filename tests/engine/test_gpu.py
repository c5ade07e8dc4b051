# SPDX-License-Identifier: GPL-2.0-or-later
"""source=cuda and source=hip on this host, with tests/gpu/standin.c in the place of the drivers' libraries."""

import os
import re
import subprocess

import pytest

from test_engine import FEATURE, JOB, ROOT, engine, fio, fio_src, io_uring, loop, refused  # noqa: F401: fixtures

KINDS = ("cuda", "hip")
LIBRARY = {"cuda": "libcuda.so.1", "hip": "libamdhip64.so"}
SANE = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
GIVE_BACK = ("cuMemFree_v2", "cuStreamDestroy_v2", "cuCtxDestroy_v2", "hipFree", "hipStreamDestroy")
ONLY_ASKED_IN_NEED = ("cuGetErrorName", "cuMemGetInfo_v2", "cuFlushGPUDirectRDMAWrites", "hipDrvGetErrorName", "hipMemGetInfo")


def build(out, cflags):
    subprocess.run(["make", "-s", "-C", ROOT / "tests/gpu", f"O={out}", f"CFLAGS={cflags}"], check=True)
    return out


@pytest.fixture(scope="session")
def sane(tmp_path_factory):
    return build(tmp_path_factory.mktemp("sane"), SANE)


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    return build(tmp_path_factory.mktemp("plain"), "-O2")


@pytest.fixture
def memory(sane):
    """gpu-memory with sanitizers and the stand-in."""
    def run(*args, **told):
        return subprocess.run([sane / "gpu-memory", *args], capture_output=True, text=True, timeout=120,
                              env=os.environ | {"LD_LIBRARY_PATH": str(sane / "standin")} | told)
    return run


def calls(built, kind):
    names = (built / "standin/calls").read_text().split()
    return [name for name in names if name.startswith({"cuda": "cu", "hip": "hip"}[kind])]


def nothing_left(done):
    """What the stand-in says last of a process."""
    lines = re.findall(r"^standin: \w+ ended: (.*)$", done.stderr, re.M)
    assert not lines or lines[-1] == "contexts=0 streams=0 blocks=0 lost=0", done.stderr
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return len(lines)


@pytest.mark.parametrize("kind, told", [
    ("cuda", {}), ("cuda", {"STANDIN_PCIE": "needed"}), ("cuda", {"STANDIN_PCIE": "unknown"}), ("cuda", {"STANDIN_ORDERING": "0"}), ("hip", {}),
], ids=lambda value: value if isinstance(value, str) else "".join(f"{name}={it}" for name, it in value.items()) or "plain")
def test_memory(memory, kind, told):
    done = memory(kind, **told, STANDIN_GPUS="2")
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^ok \d+ - ", done.stdout, re.M)) == int(re.search(r"^1\.\.(\d+)$", done.stdout, re.M)[1])
    assert nothing_left(done)


@pytest.mark.parametrize("code", ["1", "2", "3", "100", "719", "801", "4711"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_call_fails(memory, sane, kind, code):
    """It says which and how, in one sentence, and gives back what it has."""
    found = calls(sane, kind)
    assert len(found) > 12
    for call in found:
        if call in GIVE_BACK:  # then the stand-in keeps it
            done = memory(kind, "once", STANDIN_FAIL=call, STANDIN_CODE=code, ASAN_OPTIONS="detect_leaks=0")
        else:
            done = memory(kind, "once", STANDIN_FAIL=call, STANDIN_CODE=code)
            nothing_left(done)
        if call in GIVE_BACK + ONLY_ASKED_IN_NEED:
            assert (done.returncode, done.stdout) == (0, "works\n"), (call, done.stderr)
            continue
        says = {"1": "STANDIN_INVALID_VALUE", "2": "STANDIN_OUT_OF_MEMORY", "3": "STANDIN_NOT_INITIALIZED", "100": "STANDIN_NO_DEVICE",
                "719": "STANDIN_LAUNCH_FAILED", "801": "STANDIN_NOT_SUPPORTED", "4711": "error 4711"}[code]
        assert done.returncode == 1 and says in done.stdout and done.stdout.count("\n") == 1, (call, done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_later_calls_fail(memory, sane, kind):
    """With some buffers made, exported, copied."""
    for call in calls(sane, kind):
        for after in "123" if call not in GIVE_BACK else "":
            done = memory(kind, "once", STANDIN_FAIL=call, STANDIN_AFTER=after)
            nothing_left(done)
            assert done.stdout == "works\n" or "STANDIN_LAUNCH_FAILED" in done.stdout, (call, done.stdout)


def test_what_is_asked_in_need(memory):
    """A message does not depend on what it would like to add; a flush that fails is a copy that does."""
    assert "(STANDIN_OUT_OF_MEMORY; 0 of 0 are free)" in memory("cuda", "once", STANDIN_MEMORY="1048576", STANDIN_FAIL="cuMemGetInfo_v2").stdout
    done = memory("cuda", "once", STANDIN_MEMORY="1048576", STANDIN_FAIL="cuGetErrorName")
    assert "(error 2; 1048576 of 1048576 are free)" in done.stdout
    assert "flushing what the disk wrote failed on GPU 0 (STANDIN_LAUNCH_FAILED)" in memory(
        "cuda", "once", STANDIN_ORDERING="0", STANDIN_FAIL="cuFlushGPUDirectRDMAWrites").stdout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("told, options, sentence", [
    ({"STANDIN_GPUS": "0"}, (), "{} finds no GPU .STANDIN_NO_DEVICE.: see that"),
    ({}, ("--gpu_dev_ids=2",), "there is no GPU 2, {} counts 2 from 0 on: name others"),
    ({}, ("--gpu_dev_ids=0:x",), "gpu_dev_ids=0:x is no list of GPUs: give their numbers"),
    ({"STANDIN_MEMORY": "4096"}, (), r"GPU 0 has no \d+ bytes for the job .STANDIN_OUT_OF_MEMORY; 4096 of 4096 are free.: lower iodepth"),
    ({"STANDIN_DMABUF": "0"}, (), "GPU 0 does not export .*: use .*kernel"),
    ({}, ("--pages=2m",), "has pages of its own: pages= goes with"),
    ({}, ("--registration=user",), "cannot pin memory of source="),
], ids=lambda value: "".join(value) if isinstance(value, tuple) else "")
def test_bad_input(fio, loop, plain, kind, told, options, sentence):
    done = fio(*JOB, f"--filename={loop}", f"--source={kind}", *options, deny=FEATURE,
               env={"LD_LIBRARY_PATH": str(plain / "standin")} | told)
    refused(done, "dmabuf: job: .*" + sentence.format(LIBRARY[kind]))
    nothing_left(done)
    assert len(re.findall(r"^dmabuf: ", done.stderr, re.M)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_driver(fio, loop, kind, tmp_path):
    refused(fio(*JOB, f"--filename={loop}", f"--source={kind}", deny=FEATURE), rf"cannot load {LIBRARY[kind]} \(.*\): install .* LD_LIBRARY_PATH\.")
    (tmp_path / "old.c").write_text("int cuInit(unsigned f) { return 0; } int hipInit(unsigned f) { return 0; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / LIBRARY[kind], tmp_path / "old.c"], check=True)
    refused(fio(*JOB, f"--filename={loop}", f"--source={kind}", deny=FEATURE, env={"LD_LIBRARY_PATH": str(tmp_path)}),
            rf"{LIBRARY[kind]} has no \w+: use (the driver of CUDA|ROCm) [\d.]+ or later")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("thread", ["0", "1"])
def test_gpus_are_shared_out(fio, loop, plain, kind, thread):
    """Each job, process or thread, gets to where this kernel refuses its dma-buf, and gives all back."""
    done = fio(*JOB, f"--filename={loop}", f"--source={kind}", "--numjobs=5", f"--thread={thread}", "--gpu_dev_ids=1:0:2", deny=FEATURE,
               env={"LD_LIBRARY_PATH": str(plain / "standin"), "STANDIN_GPUS": "3"})
    assert done.returncode != 0 and "got signal" not in done.stdout + done.stderr
    assert sorted(re.findall(r"^standin: on GPU (\d)$", done.stderr, re.M)) == ["0", "0", "1", "1", "2"]
    assert len(re.findall(r"^dmabuf: job: cannot register the dma-buf with /dev/loop", done.stderr, re.M)) == 5
    assert nothing_left(done) == 5 * (2 if kind == "cuda" else 1)
