# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine in a stock fio on this host: needs io_uring and a built fio, no dma-buf and no guest.

FIO_SRC names the fio source tree, by default the one that the harness keeps in its cache.
"""

import ctypes
import errno
import json
import os
import re
import resource
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

import options

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dmabuf-bench"
MAKE = ("make", "-s", "-C", str(ROOT / "engines"))
IO_URING_SETUP, IO_URING_REGISTER, MEMFD_CREATE, FALLOCATE, OPENAT = 425, 427, 319, 285, 257
REGISTER_BUFFERS, REGISTER_FILES = 0, 2
BUFFERS_UPDATE = 16
# A filter that answers in place of a kernel with the feature, to the question whether it is there.
FEATURE = (IO_URING_REGISTER, errno.EBADF, 1, BUFFERS_UPDATE)
O_DIRECT = 0o40000
JOB = ("--name=job", "--size=4m", "--direct=1", "--rw=randread", "--bs=4k", "--iodepth=8")


@pytest.fixture(scope="session")
def fio_src():
    tree = Path(os.environ.get("FIO_SRC") or CACHE / "src/fio-3.33")
    if not (tree / "fio").exists():
        pytest.skip(f"no built fio in {tree}: run `make -C engines fio FIO_SRC=DIR` and set FIO_SRC")
    return tree


@pytest.fixture(scope="session")
def engine(fio_src, tmp_path_factory):
    out = tmp_path_factory.mktemp("engine")
    done = subprocess.run([*MAKE, f"FIO_SRC={fio_src}", f"O={out}"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return out / "dmabuf.so"


@pytest.fixture(scope="session")
def io_uring():
    """Skip where the kernel does not let a process have a ring."""
    fd = ctypes.CDLL(None, use_errno=True).syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(120))
    if fd < 0:
        pytest.skip(f"this host does not allow io_uring: {os.strerror(ctypes.get_errno())}")
    os.close(fd)


@pytest.fixture
def fio(fio_src, engine, io_uring, tmp_path):
    """Run fio with the engine in an empty directory."""
    def run(*args, deny=None, env=None, so=engine, before=None):
        first = () if any("ioengine=" in arg or arg.endswith(".fio") for arg in args) else (f"--ioengine=external:{so}",)
        return subprocess.run(
            [fio_src / "fio", *first, *args], capture_output=True, text=True, cwd=tmp_path, timeout=60,
            env=os.environ | (env or {}), preexec_fn=(lambda: deny_syscall(*deny)) if deny else before)
    return run


@pytest.fixture
def loop(tmp_path):
    """A block device of our own."""
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 8 << 20)
    done = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


def deny_syscall(number, error, argument=None, value=0):
    """Let a system call fail in this process from now on, or only where an argument has a value."""
    def op(code, jt, jf, k):
        return struct.pack("HBBI", code, jt, jf, k)
    load, mask, equal, ret = 0x20, 0x54, 0x15, 0x06
    program = [op(load, 0, 0, 0), op(equal, 0, 1 if argument is None else 4, number)]
    if argument is not None:  # but for the top bit, by which a later liburing says that it names a ring by its index
        program += [op(load, 0, 0, 16 + 8 * argument), op(mask, 0, 0, 0x7fffffff), op(equal, 0, 1, value)]
    program += [op(ret, 0, 0, 0x00050000 | error), op(ret, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(program))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))) == 0, ctypes.get_errno()


def succeeded(done):
    assert done.returncode == 0, done.stderr
    assert "got signal" not in done.stdout + done.stderr
    return done


def refused(done, sentence):
    """One line says why, fio fails, and nothing crashed."""
    assert done.returncode != 0
    assert re.search(sentence, done.stderr), done.stderr
    for crash in ("got signal", "double free", "Assertion", "Segmentation"):
        assert crash not in done.stdout + done.stderr
    assert "registrations=" not in done.stderr
    return done


def summary(done):
    """The engine's line at the end of a job, as a dictionary."""
    lines = re.findall(r"^dmabuf: (job=.*)$", done.stderr, re.M)
    return [dict(word.split("=", 1) for word in line.split()) for line in lines]


# --- pieces, with sanitizers ---

# What each is linked with; those with nothing, and udmabuf_test.c, take their piece in whole.
PIECES = {"ring": [ROOT / "engines/ring.c"], "buffer": [ROOT / "engines/buffer.c", ROOT / "engines/memory.c"], "memory": [],
          "nvme": [], "udmabuf": [ROOT / "engines/memory.c"], "fd": [ROOT / "engines/source_fd.c"], "self": [ROOT / "engines/self.c"], "told": [],
          "reach": []}


@pytest.mark.parametrize("piece", PIECES)
def test_piece(piece, tmp_path):
    program = tmp_path / piece
    subprocess.run(["cc", "-g", "-O1", "-Wall", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                    "-D_GNU_SOURCE", f"-I{ROOT}/engines", f"-I{ROOT}/kernel/overlay/include/uapi", "-o", program,
                    f"{ROOT}/tests/engine/{piece}_test.c", *PIECES[piece]], check=True)
    done = subprocess.run([program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_compiles_as_later_compilers_want(fio_src, tmp_path):
    """What GCC 14 made errors, in fio's headers as in ours: there they are no system headers' business."""
    said = subprocess.run([*MAKE, "-n", "V=1", f"FIO_SRC={fio_src}", f"O={tmp_path}", tmp_path / "dmabuf.o"],
                          capture_output=True, text=True, check=True).stdout
    line, = re.findall(r"^cc .*dmabuf\.c$", said, re.M)
    errors = ("implicit-function-declaration", "implicit-int", "int-conversion", "incompatible-pointer-types")
    done = subprocess.run([*shlex.split(line.replace("-isystem", "-I")), "-fsyntax-only", *(f"-Werror={name}" for name in errors)],
                          capture_output=True, text=True, cwd=ROOT / "engines")
    assert done.returncode == 0, done.stderr


# --- sources ---

@pytest.mark.parametrize("missing, options, sentence", [
    ("/dev/udmabuf", ("--source=udmabuf",), "cannot open /dev/udmabuf .*CONFIG_UDMABUF"),
    ("/dev/dma_heap/none", ("--source=heap", "--heap=none"), "cannot open /dev/dma_heap/none .*CONFIG_DMABUF_HEAPS_SYSTEM"),
    ("/dev/dri/card99", ("--source=drm", "--drm_node=/dev/dri/card99"), "cannot open the DRM node /dev/dri/card99 .*CONFIG_DRM_VGEM"),
    ("", ("--source=drm", "--drm_node=/dev/null"), "/dev/null is no DRM node"),
    ("", ("--source=vfio",), "needs vfio_device="),
    ("", ("--source=vfio", "--vfio_device=0000:7f:1f.7"), "no PCI device 0000:7f:1f.7 in an IOMMU group"),
    ("", ("--source=fd", "--dmabuf_fd=99"), "there is no descriptor 99 .*dmabuf_socket="),
    ("", ("--source=fd", "--dmabuf_fd=0"), "handed over is no dma-buf"),
    ("", ("--source=fd", "--dmabuf_socket=nothing"), "cannot connect to nothing"),
    ("", ("--source=fd", "--numjobs=2", "--dmabuf_fd=0"), "handed over is no dma-buf"),
    ("", ("--source=fd", "--dmabuf_fd=0", "--dmabuf_size=4k"), "leave out dmabuf_size"),
    ("", ("--source=fd",), "say which with dmabuf_fd= or dmabuf_socket="),
    ("", ("--dmabuf_fd=9", "--dmabuf_socket=s"), "say which with dmabuf_fd= or dmabuf_socket="),
    ("", ("--dmabuf_fd=9", "--dmabuf_offset=1000"), "dmabuf_offset=1000 is not a multiple of 4096"),
    # what an option is for is the source, and the only one
    ("/dev/dma_heap/none", ("--heap=none",), "cannot open /dev/dma_heap/none"),
    ("", ("--drm_node=/dev/null",), "/dev/null is no DRM node"),
    ("", ("--vfio_device=0000:7f:1f.7",), "no PCI device 0000:7f:1f.7"),
    ("", ("--vfio_region=2",), "needs vfio_device="),
    ("", ("--dmabuf_fd=99",), "there is no descriptor 99"),
    ("", ("--dmabuf_socket=nothing",), "cannot connect to nothing"),
    ("", ("--source=udmabuf", "--heap=system"), "heap= is for source=heap, and the source is udmabuf"),
    ("", ("--heap=system", "--drm_node=/dev/null"), "drm_node= is for source=drm, and the source is heap"),
    ("", ("--source=vfio", "--dmabuf_offset=4k"), "dmabuf_offset= is for source=fd, and the source is vfio"),
    ("", ("--gpu_dev_ids=0",), r"cannot load libcuda\.so\.1"),
    ("", ("--source=hip", "--gpu_dev_ids=0"), r"cannot load libamdhip64\.so"),
    ("", ("--source=heap", "--gpu_dev_ids=0"), "gpu_dev_ids= is for source=cuda or hip, and the source is heap"),
    ("", ("--source=cuda", "--heap=system"), "heap= is for source=heap, and the source is cuda"),
    ("", ("--registration=user", "--dmabuf_fd=9"), "cannot pin memory of source=fd"),
    *(("", (f"--{option}=-1",), f"value of {option}= is negative or too large") for option in (
        "dmabuf_fd", "dmabuf_offset", "dmabuf_size", "sqthread_poll_cpu")),
    ("", ("--source=heap", "--pages=2m"), "pages= goes with source=udmabuf"),
    ("", ("--source=heap", "--registration=user"), "cannot pin memory of source=heap"),
    ("", ("--source=drm", "--registration=none"), "cannot pin memory of source=drm"),
], ids=lambda value: "".join(value) if isinstance(value, tuple) else "")
def test_source_is_missing(fio, loop, missing, options, sentence):
    """Says what would give it."""
    if missing and os.path.exists(missing):
        pytest.skip(f"this host has {missing}")
    refused(fio(*JOB, f"--filename={loop}", *options, deny=FEATURE), sentence)


def test_socket_sends_no_dmabuf(fio, loop, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener, open("/dev/null") as null:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def serve(descriptors):
            client, _ = listener.accept()
            with client:
                socket.send_fds(client, [b"x"], descriptors)
        for number, sentence in ((0, r"s sent not one descriptor \(No message"), (1, "handed over is no dma-buf"),
                                 (2, r"s sent not one descriptor \(Argument list too long"), (9, r"s sent not one descriptor \(Arg")):
            descriptors = [null.fileno()] * number
            thread = threading.Thread(target=serve, args=(descriptors,))
            thread.start()
            refused(fio(*JOB, f"--filename={loop}", "--source=fd", "--dmabuf_socket=s", deny=FEATURE), sentence)
            thread.join()


@pytest.mark.parametrize("thread", ["0", "1"])
@pytest.mark.parametrize("accepts", [False, True], ids=["full", "silent"])
def test_socket_that_says_nothing(fio_src, engine, io_uring, loop, tmp_path, accepts, thread):
    """Neither a peer that sends nothing nor one that accepts nobody holds up ^C, and both are left after ten seconds."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "s"))
        listener.listen(8 if accepts else 0)
        if not accepts:
            first.connect(str(tmp_path / "s"))  # and the queue is full
        argv = [fio_src / "fio", f"--ioengine=external:{engine}", *JOB, f"--filename={loop}", f"--thread={thread}", "--dmabuf_socket=s"]
        for interrupt in (True, False):
            with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
                                  preexec_fn=lambda: deny_syscall(*FEATURE)) as run:
                began = time.monotonic()
                if interrupt:  # once it is there: on a busy machine fio takes its time to begin
                    if accepts:
                        select.select([listener], [], [], 20)
                    else:
                        time.sleep(4)
                    began = time.monotonic()
                    run.send_signal(signal.SIGINT)
                _, err = run.communicate(timeout=60)
            assert run.returncode != 0 and "got signal" not in err
            assert re.search("s sent not one descriptor" if accepts else "cannot connect to s", err), err
            assert time.monotonic() - began < 8 if interrupt else 9 < time.monotonic() - began < 28


# --- I/O ---

@pytest.mark.parametrize("thread", ["0", "1"])
@pytest.mark.parametrize("registration, registrations", [("none", "0"), ("user", "8")])
def test_io(fio, thread, registration, registrations):
    done = succeeded(fio(*JOB, "--filename=f", f"--thread={thread}", f"--registration={registration}",
                         "--output-format=json"))
    job = json.loads(done.stdout)["jobs"][0]
    assert (job["read"]["total_ios"], job["error"]) == (1024, 0)
    line, = summary(done)
    assert (line["registration"], line["registrations"], line["bytes"]) == (registration, registrations, "32768")


@pytest.mark.parametrize("registration", ["none", "user"])
@pytest.mark.parametrize("how", [
    (), ("--registerfiles=0",), ("--sqthread_poll",), ("--sqthread_poll", "--sqthread_poll_cpu=0"),
    ("--force_async=3",), ("--dmabuf_size=4096",), ("--dmabuf_size=1m",), ("--fsync=5", "--fdatasync=7"),
    ("--verify_async=2",), ("--verify_backlog=16",), ("--thread=1", "--numjobs=3"), ("--nonvectored=1", "--fixedbufs"),
    ("--iodepth_batch=8", "--iodepth_batch_complete_min=4", "--iodepth_batch_complete_max=16"),
    ("--iodepth_batch_complete_min=0",), ("--bsrange=512-64k", "--iomem_align=512"), ("--iodepth=1",),
    ("--direct=0", "--bsrange=512-4k", "--bs_unaligned=1"), ("--registerfiles=0", "--thread=1"),
    ("--nrfiles=5", "--openfiles=2"), ("--nrfiles=5", "--openfiles=2", "--registerfiles"), ("--sync_file_range=write:4",), ("--rate_iops=3000",),
], ids=lambda how: "".join(how) or "plain")
def test_data(fio, registration, how):
    """What was written comes back, whatever the way."""
    succeeded(fio(*JOB, "--size=2m", f"--registration={registration}", "--rw=randrw", "--iodepth=16",
                  "--verify=crc32c", "--verify_fatal=1", *([] if "--nrfiles=5" in how else ["--filename_format=f$jobnum"]),
                  *how))


@pytest.mark.parametrize("registration", ["none", "user"])
@pytest.mark.parametrize("how", [(), ("--sqthread_poll",), ("--force_async=3",), ("--thread=1", "--numjobs=3")], ids=lambda how: "".join(how) or "plain")
def test_vectors(fio, registration, how):
    """Of registered memory only where the kernel has them."""
    done = fio(*JOB, "--size=2m", f"--registration={registration}", "--rw=randrw", "--iodepth=16", "--verify=crc32c", "--verify_fatal=1",
               "--filename_format=f$jobnum", "--nonvectored=0", *how)
    if registration == "user" and tuple(map(int, os.uname().release.split(".")[:2])) < (6, 15):
        refused(done, "this kernel has no vectors of registered buffers")
    else:
        succeeded(done)


def test_limits_of_udmabuf_are_for_dmabufs(fio):
    """Blocks larger than /dev/udmabuf would export."""
    for registration in ("none", "user"):
        done = succeeded(fio(*JOB, "--filename=f", "--bs=96m", "--size=192m", "--iodepth=1", "--rw=write", "--number_ios=1", "--fallocate=none",
                             f"--registration={registration}"))
        assert summary(done)[0]["buffers"] == "1"


@pytest.mark.parametrize("size, buffers", [("16k", "2"), ("4g", "1"), ("1t", "1"), ("1025g", None)])
def test_size_of_a_dmabuf(fio, size, buffers):
    """As typed, beyond 32 bits too."""
    done = fio(*JOB, "--filename=f", "--registration=user", f"--dmabuf_size={size}")
    if buffers:
        assert summary(succeeded(done))[0]["buffers"] == buffers
    else:
        refused(done, "failed parsing dmabuf_size=1025g")


def test_data_reads_back_through_another_engine(fio):
    write = ("--name=job", "--filename=f", "--size=4m", "--direct=1", "--rw=randwrite", "--bs=16k", "--iodepth=16",
             "--verify=sha256", "--randseed=7")
    succeeded(fio(*write, "--registration=user", "--do_verify=0"))
    succeeded(fio(*write, "--ioengine=psync", "--verify_only=1"))
    damaged = fio(*write, "--registration=none", "--verify_only=1", "--verify_pattern=1", "--verify=pattern")
    assert damaged.returncode != 0 and "verify" in damaged.stderr


def test_time_based_job_reopens_its_file(fio):
    done = succeeded(fio(*JOB, "--filename=f", "--size=64k", "--time_based", "--runtime=1", "--registration=user"))
    assert summary(done)[0]["registrations"] == "8"


def test_replay(fio):
    succeeded(fio(*JOB, "--filename=f", "--rw=randrw", "--registration=user", "--write_iolog=log"))
    replay = ("--name=replay", "--read_iolog=log", "--direct=1", "--iodepth=8", "--registration=user")
    done = succeeded(fio(*replay, "--output-format=json"))
    job = json.loads(done.stdout)["jobs"][0]
    assert job["read"]["total_ios"] + job["write"]["total_ios"] == 1024
    refused(fio(*replay, "--read_iolog_chunked=1"), "replay the whole log")


def test_failed_io_says_what_and_why(fio):
    """Reads that are not a multiple of the logical block cannot be direct."""
    done = fio(*JOB, "--filename=f", "--bs=100", "--registration=user")
    assert done.returncode != 0
    assert re.search(r"registration=user, udmabuf memory, buffer slot \d+, .*Invalid argument: offset, length", done.stderr)


def test_failed_io_is_counted_as_with_any_engine(fio):
    """Writes beyond a limit fail, those below it do not: fio makes of that what it makes of its own engine's."""
    limit = 1 << 20

    def limit_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    args = (*JOB, "--filename=f", "--rw=randwrite", "--fallocate=none", "--continue_on_error=all", "--ignore_error=,EFBIG",
            "--output-format=json")
    jobs = [json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0] for done in (
        fio(*args, "--registration=user", before=limit_files), fio("--ioengine=io_uring", *args, before=limit_files))]
    assert jobs[0]["error"] == errno.EFBIG and jobs[0]["total_err"] == 1024 - limit // 4096
    for what in ("total_ios", "io_bytes", "short_ios", "drop_ios"):
        assert jobs[0]["write"][what] == jobs[1]["write"][what], what
    assert jobs[0]["write"]["io_bytes"] == limit


def test_nowait_leaves_eagain_to_the_user(fio):
    """A write that has to allocate cannot do without waiting."""
    done = fio(*JOB, "--filename=f", "--rw=randwrite", "--fallocate=none", "--nowait=1", "--registration=none")
    if done.returncode == 0:
        pytest.skip("this file system never says EAGAIN to a direct write")
    assert "Resource temporarily unavailable: nowait=1 and" in done.stderr
    assert summary(done)[0]["eagain_reissues"] == "0"


@pytest.mark.parametrize("thread", ["0", "1"])
def test_block_device(fio, loop, thread):
    """fio opens a block device for its size before there is a job."""
    succeeded(fio(*JOB, f"--filename={loop}", "--rw=randrw", "--verify=crc32c", "--registration=user", "--numjobs=2",
                  "--size=2m", "--offset_increment=2m", f"--thread={thread}"))


def frames(pid):
    """The page frames of the job's memory, in the order of its addresses."""
    line, = (line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "memfd:dmabuf-engine" in line)
    first, end = (int(word, 16) // 4096 for word in line.split()[0].split("-"))
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        entries = struct.unpack(f"={end - first}Q", os.pread(pagemap.fileno(), 8 * (end - first), 8 * first))
    assert all(entry >> 63 for entry in entries)
    return [entry & (1 << 55) - 1 for entry in entries]


@pytest.mark.parametrize("pages", ["4k", "scattered"])
def test_scattered_pages_are_no_neighbours(fio_src, engine, io_uring, tmp_path, pages):
    argv = [fio_src / "fio", f"--ioengine=external:{engine}", f"--pages={pages}", "--registration=none", "--name=job", "--thread", "--direct=1",
            "--filename=f", "--rw=read", "--size=8m", "--bs=4m", "--iodepth=16", "--rate_iops=1"]
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while "memfd:dmabuf-engine" not in Path(f"/proc/{process.pid}/maps").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(0.5)
        found = frames(process.pid)
    finally:
        process.kill()
        process.wait()
    if not any(found):
        pytest.skip("only root sees page frames")
    neighbours = sum(abs(one - other) == 1 for one, other in zip(found, found[1:]))
    assert len(found) == 16384
    if pages == "scattered":
        assert neighbours < 0.01 * len(found)
    elif neighbours <= 0.1 * len(found):
        pytest.skip("memory is in small pieces here, so that scattered pages are no other than these")


def test_trim(fio, loop):
    done = succeeded(fio(*JOB, f"--filename={loop}", "--rw=randtrim", "--registration=user", "--output-format=json"))
    assert (summary(done)[0]["registrations"], summary(done)[0]["bytes"]) == ("0", "0")
    assert json.loads(done.stdout)["jobs"][0]["trim"]["total_ios"] == 1024


def test_dmabuf_where_there_is_none(fio, loop):
    """This host has no kernel of ours, and perhaps no udmabuf: what it takes most is said first, and nothing is written."""
    done = fio(*JOB, f"--filename={loop}", "--registration=dmabuf")
    refused(done, r"dmabuf: job: (this kernel's io_uring cannot register dma-bufs|/dev/loop\d+ cannot take dma-bufs)")


@pytest.mark.parametrize("word", ["registerfiles", "hipri", "sqthread_poll", "nowait", "fixedbufs"])
@pytest.mark.parametrize("value", ["", "=0", "=1"])
def test_options_without_a_value(fio, tmp_path, engine, word, value):
    """In a job file, before or after the engine's name, as fio's io_uring engine takes them."""
    for first, then in ((f"ioengine=external:{engine}", f"{word}{value}"), (f"{word}{value}", f"ioengine=external:{engine}")):
        (tmp_path / "j.fio").write_text(f"[global]\n{first}\n{then}\nregistration=user\n[job]\nfilename=f\nsize=64k\nrw=read\ndirect=1\n")
        done = fio("j.fio")
        assert "failed parsing" not in done.stderr and "dropped" not in done.stderr
        if word != "hipri" or value == "=0":
            succeeded(done)


MANY = ("--size=1600k", "--nrfiles=400")


@pytest.mark.parametrize("how, sentence", [
    ((*MANY, "--openfiles=16"), None), ((*MANY, "--openfiles=16", "--registerfiles=0"), None),
    ((*MANY, "--openfiles=16", "--registerfiles"), "cannot hold 400 files open .*ulimit -n"),
    (MANY, "cannot hold 400 files open .*ulimit -n"),
    (("--unlink_each_loop=1", "--loops=3", "--rw=write"), None),
    (("--unlink_each_loop=1", "--loops=3", "--rw=write", "--registerfiles=0"), None),
    (("--unlink_each_loop=1", "--registerfiles=1"), "unlink_each_loop=1 has files come and go"),
], ids=lambda value: value or "works" if not isinstance(value, tuple) else "".join(value))
def test_files_are_held_where_that_is_needed(fio, how, sentence):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    done = fio(*JOB, "--registration=user", *how, before=few)
    refused(done, sentence) if sentence else succeeded(done)


def test_thread_polls_alone(fio_src, engine, io_uring, tmp_path):
    """sqthread_poll: the job enters the kernel to wake the thread, and not to wait."""
    if not shutil.which("strace"):
        pytest.skip("no strace: install the Debian package of that name")
    done = subprocess.run(["strace", "-f", "-e", "trace=io_uring_enter", "-o", "trace", fio_src / "fio", f"--ioengine=external:{engine}",
                           *JOB, "--filename=f", "--size=8m", "--registration=user", "--sqthread_poll", "--thread=1"],
                          capture_output=True, text=True, cwd=tmp_path, timeout=60)
    succeeded(done)
    enters = [line for line in (tmp_path / "trace").read_text().splitlines() if "io_uring_enter(" in line]
    assert len(enters) < 20, enters[:30]  # of 2,048 I/Os; 256 when each batch was waited for


# --- jobs ---

@pytest.mark.parametrize("job", sorted((ROOT / "jobs").glob("*.fio")), ids=lambda job: job.stem)
def test_job_file(fio, engine, tmp_path, job):
    (tmp_path / "device").touch()
    os.truncate(tmp_path / "device", 128 << 20)
    env = {"DEV": str(tmp_path / "device"), "ENGINE": f"external:{engine}", "REGISTRATION": "user",
           "IODEPTH": "3", "BS": "12k"}
    done = succeeded(fio("--size=16m", "--number_ios=200", "--output-format=json", str(job), env=env))
    assert json.loads(done.stdout)["jobs"][0]["jobname"] == job.stem
    assert summary(done)[0]["registration"] == "user"
    for missing in env:
        if f"${{{missing}}}" in job.read_text() + (ROOT / "jobs/common.inc").read_text():
            assert fio("--size=16m", str(job), env=env | {missing: ""}).returncode != 0, missing


# --- refusals ---

@pytest.mark.parametrize("args, sentence", [
    (("--registration=dmabuf", "--direct=0"), r"job: registration=dmabuf needs direct=1"),
    (("--pages=2m", "--registration=user", "--iodepth=100000", "--bs=1m"), r"at most 32768 entries"),
    (("--pages=2m", "--registration=user", "--iodepth=10000", "--bs=1m"), r"huge pages"),
    *((("--registration=user", "--bs=64k", f"--dmabuf_size={size}"), rf"dmabuf_size={number} cannot hold .* every 65536 bytes")
      for size, number in (("4k", 4096), ("65535", 65535))),
    (("--registration=user", "--bs=12k", "--dmabuf_size=8k"), "dmabuf_size=8192 cannot hold"),
    (("--registration=user", "--bsrange=512-4k", "--bs_unaligned=1"), "bs_unaligned=1 makes blocks"),
    (("--registration=user", "--require_p2p"), "require_p2p=1 is about dma-bufs of other devices: use registration=dmabuf"),
    (("--registration=user", "--mem=mmap"), r"'mem/iomem' conflicts"),
    (("--registration=user", "--io_submit_mode=offload"), r"can't be used with offloaded submit"),
    (("--registration=user", "--iodepth=40000"), r"at most 32768 entries and not 40000: lower iodepth"),
    (("--registration=user", "--iodepth=20000"), r"as many as 20000 buffers.*: lower iodepth"),
    *((("--registration=user", "--sqthread_poll", f"--sqthread_poll_cpu={cpu}"), rf"sqthread_poll_cpu={cpu} is no CPU") for cpu in (99, 4000)),
    *((("--registration=none", "--bsrange=4k-1g", f"--iodepth={depth}", *more), r"\d+ MiB of buffers do not fit into the \d+ MiB that may be taken")
      for depth in (30000, 16384) for more in ((), ("--pages=scattered",), ("--pages=thp",))),
    *(((f"--registration={registration}", "--dmabuf_size=16k", "--iomem_align=512", f"--rw={rw}"), r"iomem_align= moves blocks")
      for registration in ("none", "user") for rw in ("randread", "write")),
    (("--uncached=1",), r"Option <uncached>: \w+"),
    # of commands, and a file takes none
    (("--registration=user", "--cmd_type=nvme"), r"cmd_type=nvme is for NVMe generic character devices, /dev/ngXnY, and .*f is none"),
    (("--cmd_type=bsg",), r"invalid value <bsg> for option <cmd_type>|failed parsing cmd_type=bsg"),
    (("--registration=user", "--readfua=1"), "readfua=1 is a bit of NVMe commands: name /dev/ngXnY"),
    (("--registration=user", "--writefua=1"), "writefua=1 is a bit of NVMe commands: name /dev/ngXnY"),
], ids=lambda value: value if isinstance(value, str) else "".join(value))
def test_refusal(fio, args, sentence):
    done = refused(fio(*JOB, "--filename=f", *args), sentence)
    assert "reducing io depth" not in done.stderr  # which fio adds to any failure
    assert len(re.findall(r"^dmabuf: .*", done.stderr, re.M)) <= 1, done.stderr  # and went no further


@pytest.mark.parametrize("args, sentence", [
    (("--registration=none", "--cmd_type=nvme"), r"cmd_type=nvme is for NVMe generic character devices, /dev/ngXnY, and /dev/zero is none"),
    (("--registration=dmabuf",), "/dev/zero is neither a block device nor a regular file: registration=dmabuf needs one, or /dev/ngXnY"),
    (("--registration=user", "--readfua=1"), "readfua=1 is a bit of NVMe commands"),
], ids=lambda value: value if isinstance(value, str) else "".join(value))
def test_a_character_device_that_takes_no_commands(fio, args, sentence):
    refused(fio(*JOB, "--filename=/dev/zero", *args), sentence)
    succeeded(fio(*JOB, "--filename=/dev/zero", "--registration=none", "--direct=0"))


def test_nothing_is_made_where_commands_were_to_go(fio, tmp_path):
    """A name that is not there would become a file."""
    refused(fio(*JOB, "--filename=ng9n1", "--rw=write", "--registration=user", "--cmd_type=nvme"), "ng9n1 is none")
    assert not (tmp_path / "ng9n1").exists()


def test_limit_on_the_size_of_files(fio, tmp_path):
    """The memory is a file: beyond `ulimit -f` the kernel would send SIGXFSZ."""
    (tmp_path / "f").write_bytes(bytes(4 << 20))

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, resource.RLIM_INFINITY))
    refused(fio(*JOB, "--filename=f", "--registration=user", before=limit_files), r"limit on the size of files is 16384 .*ulimit -f")
    succeeded(fio(*JOB, "--filename=f", "--registration=none", "--dmabuf_size=16k", before=limit_files))


@pytest.mark.parametrize("thread", ["0", "1"])
@pytest.mark.parametrize("deny, sentence", [
    ((IO_URING_SETUP, errno.EMFILE), "no descriptor is left for a ring .*ulimit -n"),
    ((IO_URING_SETUP, errno.ENOSYS), "io_uring is not available .*CONFIG_IO_URING"),
    ((IO_URING_SETUP, errno.EPERM), "io_uring is not available .*io_uring_disabled"),
    ((IO_URING_SETUP, errno.ENOMEM), "no memory for a ring of 8 entries"),
    ((IO_URING_REGISTER, errno.EMFILE, 1, REGISTER_FILES), "cannot register 1 files .*registerfiles=0"),
    ((IO_URING_REGISTER, errno.ENOMEM, 1, REGISTER_BUFFERS), r"cannot lock 32768 bytes .*RLIMIT_MEMLOCK is \d+"),
    ((IO_URING_REGISTER, errno.EOPNOTSUPP, 1, REGISTER_BUFFERS), "cannot register 8 buffers"),
    ((OPENAT, errno.EINVAL, 2, O_DIRECT), "does not support direct=1"),
    ((MEMFD_CREATE, errno.ENOMEM), "no memory for a buffer of 32768 bytes"),
    ((FALLOCATE, errno.ENOSPC), "no memory for a buffer"),
], ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)))
def test_failing_step(fio, tmp_path, thread, deny, sentence):
    """Initialisation that fails at any step says why, leaves nothing and crashes nothing."""
    (tmp_path / "f").write_bytes(bytes(4 << 20))
    refused(fio(*JOB, "--filename=f", "--registration=user", f"--thread={thread}", deny=deny), sentence)


@pytest.mark.parametrize("thread", ["0", "1"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_signal_in_mid_run(fio_src, engine, io_uring, tmp_path, number, thread):
    """fio ends with its 128, its JSON is whole, each job has reported and no process is left."""
    with subprocess.Popen([fio_src / "fio", f"--ioengine=external:{engine}", *JOB, "--filename=f", "--registration=user",
                           "--numjobs=2", f"--thread={thread}", "--time_based", "--runtime=60", "--output-format=json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
                          start_new_session=True) as run:
        time.sleep(2)
        assert run.poll() is None
        run.send_signal(number)
        out, err = run.communicate(timeout=20)
    assert run.returncode == 128
    jobs = json.loads(out[out.index("{"):])["jobs"]
    assert [(job["error"], job["read"]["total_ios"] > 0) for job in jobs] == [(0, True)] * 2
    assert err.count("dmabuf: job=job ") == 2
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)


@pytest.fixture(scope="session")
def sane_engine(fio_src, tmp_path_factory):
    """The engine with ASan, UBSan and fail.c, and the environment that it needs."""
    out = tmp_path_factory.mktemp("sane")
    subprocess.run(["make", "-s", "-C", ROOT / "tests/engine", f"FIO_SRC={fio_src}", f"O={out}"], check=True)
    libraries = [subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
                 for name in ("libasan.so", "libubsan.so")]
    # fio itself frees not all that it has; fail.c counts what the engine does
    return out / "steps/dmabuf.so", {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0",
                                     "UBSAN_OPTIONS": "print_stacktrace=1"}


def gave_back(done):
    """Nothing is left of the engine's, and the sanitizers have nothing to say. Its steps, and the one that failed."""
    for crash in ("got signal", "Sanitizer", "runtime error"):
        assert crash not in done.stdout + done.stderr, done.stderr
    said, = re.findall(r"^fail: steps=(\d+) failed=(\w+) (.*)$", done.stderr, re.M)
    assert said[2] == "libraries=0 blocks=0 mappings=0 streams=0 descriptors=0", done.stderr
    return int(said[0]), said[1]


def test_sanitizers(fio, sane_engine):
    so, env = sane_engine
    for more, status in ((("--verify=crc32c", "--rw=randrw", "--cmdprio_percentage=20", "--force_async=3"), 0),
                         (("--numjobs=2", "--nrfiles=3"), 0), (("--iodepth=20000",), 1), (("--dmabuf_size=16k", "--iomem_align=512"), 1),
                         (("--nrfiles=5", "--openfiles=2", "--rw=write"), 0), (("--sqthread_poll",), 0)):
        done = fio(*JOB, "--size=1m", "--registration=user", "--thread=1", *more, so=so, env=env)
        assert (done.returncode != 0) == status, done.stderr
        gave_back(done)


def test_threads_that_share_a_file_leave_nothing(fio, sane_engine):
    """All but the first have two descriptors of it, in fio's way, when they fail."""
    so, env = sane_engine
    done = fio(*JOB, "--filename=f", "--rw=write", "--size=64k", "--registration=user", "--thread=1", "--numjobs=3", so=so, env=env,
               deny=(IO_URING_REGISTER, errno.EMFILE, 1, REGISTER_FILES))
    refused(done, "cannot register 1 files .*registerfiles=0")
    gave_back(done)


@pytest.mark.parametrize("how", [(), ("--nrfiles=3", "--dmabuf_size=4k")], ids=["plain", "several"])
def test_every_step_fails(fio, sane_engine, how):
    """Each step on the way up in turn: a sentence or none missed it, and all is given back. sources.sh has the like."""
    so, env = sane_engine
    failed = []
    while not failed or failed[-1] != "none":
        for thread in ("0", "1"):
            done = fio(*JOB, "--size=64k", "--registration=user", f"--thread={thread}", *how, so=so,
                       env=env | {"FAIL_STEP": str(len(failed) + 1)})
            if done.returncode:
                refused(done, r"dmabuf: job: .+\.\n")
        failed.append(gave_back(done)[1])
    assert {"calloc", "fcntl", "mmap", "memfd_create", "io_uring_setup", "io_uring_queue_mmap", "io_uring_register_buffers"} < set(failed)


@pytest.mark.parametrize("how", [
    ("--rw=randrw", "--verify=crc32c", "--force_async=5"),
    ("--rw=randrw", "--nrfiles=3", "--dmabuf_size=4k", "--registerfiles=0", "--cmdprio_percentage=20"),
    ("--rw=randwrite", "--fsync=4", "--bsrange=512-16k", "--sqthread_poll"),
    ("--iodepth=20000",)], ids=["verify", "several", "flushes", "refused"])
def test_valgrind(fio_src, engine, io_uring, tmp_path, how):
    """Nothing that memcheck finds, leaks and descriptors left open among it, came by way of the engine."""
    if not shutil.which("valgrind"):
        pytest.skip("no valgrind")
    done = subprocess.run(["valgrind", "--leak-check=full", "--show-leak-kinds=all", "--track-fds=yes", fio_src / "fio",
                           f"--ioengine=external:{engine}", *JOB, "--size=1m", "--registration=user", "--thread=1", *how],
                          capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode == 0) == (len(how) > 1) and "ERROR SUMMARY" in done.stderr, done.stderr
    assert not re.search(r"^==.*(dmabuf\.so\)|\((dmabuf|ring|buffer|source_\w+)\.c:)", done.stderr, re.M), done.stderr


# --- what it says at the end, and of itself ---

def build_id(so):
    return re.search(r"Build ID: ([0-9a-f]{16})", subprocess.run(["readelf", "-n", so], capture_output=True, text=True, check=True).stdout)[1]


def test_the_line_names_file_and_build(fio, engine, tmp_path):
    """Of that very file, blanks in its path as in /proc/mounts; fio's --debug shows it before anything happens."""
    place = tmp_path / "a place"
    place.mkdir()
    so = shutil.copy(engine, place / "my engine.so")
    line, = summary(succeeded(fio(*JOB, "--filename=f", "--registration=user", so=so)))
    assert line["engine"] == str(so).replace(" ", "\\040") and line["build"] == build_id(so)
    said = fio(*JOB, "--filename=f", "--registration=user", "--debug=io", so=so)
    assert f"dmabuf: {so}, build {build_id(so)}, for fio-3." in said.stdout + said.stderr
    assert "dmabuf: the kernel took" in said.stdout + said.stderr


def test_another_file_is_not_loaded(fio, engine, tmp_path):
    """fio looks for external:NAME here, and the loader finds another one elsewhere: neither that one runs, nor is anything else taken for it."""
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "my.so"
    elsewhere.mkdir()
    found = shutil.copy(engine, elsewhere / "my.so")
    env = {"LD_LIBRARY_PATH": str(elsewhere)}
    job = (*JOB, "--filename=f", "--registration=user")
    shutil.copy(engine, here)
    (tmp_path / "wrong.fio").write_text("[global]\nioengine=external:./my.so\n[job]\nioengine=external:my.so\nfilename=f\nsize=4k\nregistration=user\n")
    (tmp_path / "right.fio").write_text("[global]\nioengine=external:my.so\n[job]\nioengine=external:./my.so\nfilename=f\nsize=4k\nregistration=user\n")
    for args in (("--ioengine=external:my.so", *job), ("wrong.fio",)):
        refused(fio(*args, env=env), rf"external:my\.so is a file of this directory, and the loader took {found}, build {build_id(engine)}, in its place: "
                                     r"write external:\./my\.so .* --ioengine=my\.so")
    assert summary(succeeded(fio("right.fio", env=env)))[0]["engine"] == "./my.so"
    for name, loaded in (("external:./my.so", "./my.so"), (f"external:{here}", here), ("my.so", found), (f"external:{found}", found)):
        assert summary(succeeded(fio(f"--ioengine={name}", *job, env=env)))[0]["engine"] == str(loaded), name
    here.unlink()
    here.symlink_to(found)
    assert summary(succeeded(fio("--ioengine=external:my.so", *job, env=env)))[0]["engine"] == str(found)


def test_external_is_a_file_of_the_directory(fio, engine, tmp_path):
    """What the loader would find does not help: fio itself refuses, in str_ioengine_external_cb() of its options.c."""
    done = fio("--ioengine=external:dmabuf.so", *JOB, "--filename=f", "--registration=user", env={"LD_LIBRARY_PATH": str(engine.parent)})
    assert done.returncode != 0 and 'invalid external ioengine path "dmabuf.so"' in done.stderr


@pytest.mark.parametrize("how, lines", [((), 4), (("--group_reporting",), 1), (("--group_reporting", "--summary=all"), 4), (("--summary=none",), 0)],
                         ids=lambda how: "".join(how) if isinstance(how, tuple) else "")
def test_one_line_for_a_group(fio, how, lines):
    done = succeeded(fio(*JOB, "--size=64k", "--registration=user", "--numjobs=4", *how))
    assert len(summary(done)) == lines


@pytest.mark.parametrize("where", [(), ("--thread=1",)], ids=["processes", "threads"])
def test_the_line_can_be_read_by_programs(fio, where):
    """The words that the README shows, in its order, each of a form; and the JSON is whole beside it."""
    shown, = re.findall(r"^ +dmabuf: (job=.*)$", (ROOT / "engines/README.md").read_text(), re.M)
    number, word = r"\d+", r"[^\s=]+"
    forms = {"job": ".+", "registration": "none|user|dmabuf", "source": word, "exporter": word, "memory": "system|peer-to-peer|other|mixed|unknown",
             "addresses": "iova|physical|bus|mixed|unknown|none", "page": number, "buffers": number, "bytes": number, "registrations": number, "export_us": number, "register_us": number,
             "cpu": "direct|copy|once|none", "cpu_sync": "0|1", "eagain_reissues": number, "maps_rebuilt": number,
             "engine": r"\S+", "build": "[0-9a-f]{16}"}
    line = "dmabuf: " + " ".join(f"{name}=({form})" for name, form in forms.items())
    assert re.fullmatch(line, f"dmabuf: {shown}")
    done = succeeded(fio("--name=two words", *JOB[1:], "--filename=f", "--registration=user", "--numjobs=2", *where, "--output-format=json"))
    assert [job["jobname"] for job in json.loads(done.stdout)["jobs"]] == ["two words"] * 2
    said = done.stderr.splitlines()
    assert len(said) == 2 and all(re.fullmatch(line, each)[1] == "two words" for each in said), done.stderr


def test_client_gets_the_line(fio_src, engine, io_uring, tmp_path):
    (tmp_path / "j.fio").write_text(f"[job]\nioengine=external:{engine}\nregistration=user\nfilename=f\nsize=64k\nrw=read\ndirect=1\n")
    with subprocess.Popen([fio_src / "fio", "--server=sock:s"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True) as server:
        try:
            deadline = time.monotonic() + 10
            while not (tmp_path / "s").exists():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            done = subprocess.run([fio_src / "fio", "--client=sock:s", "j.fio"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^.*dmabuf: job=job registration=user .* registrations=1 ", done.stdout, re.M), done.stdout + done.stderr


# --- the fio it was built for ---

def test_other_fio_is_refused(fio, fio_src, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for entry in fio_src.iterdir():
        if entry.name != "FIO-VERSION-FILE":
            (other / entry.name).symlink_to(entry)
    (other / "FIO-VERSION-FILE").write_text("FIO_VERSION = fio-9.99\n")
    subprocess.run([*MAKE, f"FIO_SRC={other}", f"O={tmp_path}/so"], check=True)
    so = tmp_path / "so/dmabuf.so"
    job = (*JOB, "--filename=f", "--registration=user")
    refused(fio(*job, so=so), r"built for fio-9\.99 and this is fio-3\.\d+: build it with that fio's source")
    for no in ("0", ""):
        refused(fio(*job, so=so, env={"DMABUF_ANY_FIO": no}), r"built for fio-9\.99")
    succeeded(fio(*job, so=so, env={"DMABUF_ANY_FIO": "1"}))
    assert b"dmabuf engine for fio-9.99\0" in so.read_bytes()


@pytest.mark.parametrize("blank", ["there", "elsewhere"])
def test_blanks_in_paths(fio, fio_src, tmp_path, blank):
    """In the path of the checkout and of where it is built in it, of fio, and of where it is installed."""
    checkout = tmp_path / "a check out"
    shutil.copytree(ROOT / "engines", checkout / "engines")
    shutil.copytree(ROOT / "kernel/overlay/include", checkout / "kernel/overlay/include")
    out = checkout / "build" if blank == "there" else tmp_path / "somewhere/else"
    tree = fio_src
    if blank == "elsewhere":
        tree = tmp_path / "a fio"
        tree.symlink_to(fio_src)
    make = ["make", "-s", "-C", checkout / "engines", f"FIO_SRC={tree}", f"O={out}", f"DESTDIR={tmp_path / 'a root'}", "PREFIX=/usr"]
    for _ in range(2):
        done = subprocess.run(make, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
    assert not done.stdout  # the second time there is nothing to do
    subprocess.run([*make, "install"], check=True)
    lib, = (tmp_path / "a root").rglob("dmabuf.so")
    assert lib.resolve() == tmp_path / "a root/usr/lib/libfio-dmabuf.so"
    succeeded(fio(*JOB, "--filename=f", "--registration=user", so=out / "dmabuf.so"))
    subprocess.run([*make, "clean", "uninstall"], check=True)
    assert not [path for path in (*out.rglob("*"), *(tmp_path / "a root").rglob("*")) if path.is_file()]


def test_install_and_uninstall(fio, fio_src, engine, tmp_path):
    root, lib = tmp_path / "root", tmp_path / "root/usr/lib"
    make = [*MAKE, f"FIO_SRC={fio_src}", f"O={engine.parent}", f"DESTDIR={tmp_path}/root", "PREFIX=/usr"]
    subprocess.run([*make, "install"], check=True)
    assert sorted(str(path.relative_to(root / "usr")) for path in root.rglob("*") if not path.is_dir()) == [
        "lib/dmabuf.so", "lib/libfio-dmabuf.so", "sbin/dmabuf-check", "share/man/man7/fio-dmabuf.7",
        "share/man/man8/dmabuf-check.8"]
    for name in ("dmabuf.so", f"external:{lib}/dmabuf.so"):  # from a directory without one
        line, = summary(succeeded(fio(f"--ioengine={name}", *JOB, "--filename=f", "--registration=user", env={"LD_LIBRARY_PATH": str(lib)})))
        assert line["engine"] == str(lib / "dmabuf.so")
    subprocess.run([*make, "uninstall"], check=True)
    assert not [path for path in root.rglob("*") if not path.is_dir()]


def test_engine_exports_one_symbol(engine):
    done = subprocess.run(["nm", "-D", "--defined-only", engine], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["ioengine"]


def test_no_state_outside_a_job(engine):
    """Of what can be written to, all that outlives a job is fio's description of the engine."""
    found = set()
    for obj in engine.parent.glob("*.o"):
        done = subprocess.run(["nm", "--format=sysv", "--defined-only", obj], capture_output=True, text=True, check=True)
        for name, _, _, kind, _, _, section in (line.split("|") for line in done.stdout.splitlines() if line.count("|") == 6):
            if kind.strip() == "OBJECT" and re.match(r"\.(data(?!\.rel\.ro)|bss|tdata|tbss)|\*COM\*", section):
                found.add((obj.name, name.strip()))
    assert found == {("dmabuf.o", "ioengine"), ("dmabuf.o", "options")}


def test_readme_lists_every_option(fio, engine):
    listed = re.findall(r"^(\w+) +: ", fio(f"--enghelp={engine}", "--ioengine=null").stdout, re.M)
    assert "registration" in listed
    readme = (ROOT / "engines/README.md").read_text()
    assert [name for name in listed if f"`{name}" not in readme] == []


def test_readme_has_the_option_table():
    """compare.py runs every row of it."""
    assert len({row.slug for row in options.ROWS}) == len(options.ROWS)
    assert options.table() in (ROOT / "engines/README.md").read_text(), "run tests/engine/options.py and paste it there"
