# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot: a specification becomes a QEMU command line, which becomes an outcome."""

import fcntl
import functools
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..build.sources import sha256
from ..fault import Fault, LostGuest, Splat, TimedOut, WrongMode
from ..paths import BUILD, CACHE, ROOT
from .initrd import cpio, with_libraries
from .modes import IOMMUS, PC, Board, Iommu, Mode
from .splat import END, splats

CHANNELS = ("out", "status", "results")
DISKS = {"NULLDEV": "null", "DEV": "data", "DEV2": "data2"}  # guest variable -> NVMe serial
MDTS = 9  # 2^9 pages: commands of up to 2 MiB
ARGS = ("panic=-1", "oops=panic", "nvme_core.multipath=N", "hugepages=64", "tsc=reliable",
        "nvme.poll_queues=1", "udmabuf.size_limit_mb=4096", "udmabuf.list_limit=65536")

HELP = """\
The guest has three NVMe controllers, each in an IOMMU group of its own: $NULLDEV
(64 GiB of nothing), $DEV (see --disk) and $DEV2 (256 MiB scratch). It boots with
nvme_core.multipath=N, as a disk that goes and comes back while somebody has it open
is another path of the old one otherwise; APPEND=nvme_core.multipath=Y has heads.
fio, dmabuf.so, /examples, /jobs and /tests are there once `make engine` has built
them; busybox is the rest.
IOMMU=smmu is an arm64 guest with pages of 64 KiB, of /tests and busybox only.

"""

# A session of its own, whose first terminal is its own: ^C and job control work.
SHELL = """\
exec >/dev/hvc0 2>&1
echo "A guest in IOMMU mode $MODE: DEV=$DEV DEV2=$DEV2 NULLDEV=$NULLDEV; fio, dmabuf-check, /examples, /jobs, /tests. exit ends it."
setsid sh -c "PS1='guest:\\w# ' exec sh -i </dev/hvc0 >/dev/hvc0 2>&1"
"""


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> None: ...


@dataclass(frozen=True)
class Spec:
    kernel: Path
    mode: Mode
    command: str
    files: dict[str, Path | bytes] = field(default_factory=dict)
    disk: str = "1G"  # null, a size, or an image
    disk_write: bool = False
    icount: bool = False
    memory: str = "2G"
    cpus: int = 2
    timeout: float = 300
    append: str = ""
    qemu_extra: str = ""
    provoked: str = ""  # complaints of the kernel that the command is there to provoke
    iommu: Iommu = IOMMUS["vtd"]
    nulls: int = 1  # disks like NULLDEV: NULLDEV2 and so on
    block: int = 512  # logical block size of the disks
    typing: bool = False  # our terminal is the guest's /dev/hvc0


@dataclass(frozen=True)
class Outcome:
    status: int
    observed: tuple[str, ...]  # IOMMU group type of each disk
    argv: tuple[str, ...]
    console: str
    results: Path  # what the command left in /results


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def kvm_verdicts() -> dict[str, bool]:
    """Of kernels that were tried since this machine booted, by their digest."""
    path = CACHE / "kvm"
    words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return {each[1]: each[2] == "works" for each in words if len(each) == 3 and each[0] == boot_id()}


@functools.cache
def kvm_works(kernel: Path) -> bool:
    """Does a kernel come as far as having no root, and reboot?  Nested KVM may be there and refuse or hang.

    Tried once for each kernel and boot of this machine, as a guest that hangs takes its 15 s to be found out.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    known, key = kvm_verdicts(), sha256(kernel)
    if key in known:
        return known[key]
    argv = [PC.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "kvm",
            "-cpu", "host", "-m", "512M", "-kernel", str(kernel), "-append", "panic=-1"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, timeout=15)
        problem = (done.stderr.strip() or f"QEMU's status is {done.returncode}") if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = "a guest hangs"
    if problem:
        print(f"harness: KVM does not work here, going on without it: {problem.splitlines()[0]}", file=sys.stderr)
    CACHE.mkdir(parents=True, exist_ok=True)
    lines = [f"{boot_id()} {each} {'works' if works else 'fails'}\n" for each, works in (known | {key: not problem}).items()]
    (CACHE / "kvm").write_text("".join(lines))
    return not problem


def accelerator(spec: Spec) -> str:
    return "kvm" if spec.iommu.board is PC and not spec.icount and kvm_works(spec.kernel) else "tcg"


def disks(spec: Spec) -> dict[str, str]:
    """Guest variable -> NVMe serial."""
    return DISKS | {f"NULLDEV{number}": f"null{number}" for number in range(2, spec.nulls + 1)}


def is_kernel(path: Path, board: Board) -> bool:
    """By its magic number: a bzImage, or an Image of arm64."""
    place, magic = (0x38, b"ARM\x64") if board.programs else (0x202, b"HdrS")
    with path.open("rb") as file:
        return file.read(0x206)[place:place + 4] == magic


def split(name: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Fault(f"{name}={text} does not end as it began ({error}): close what it opens") from error


def is_size(disk: str) -> bool:
    return re.fullmatch(r"\d+[KMGT]", disk) is not None


def blockdev(spec: Spec, name: str, run: Path) -> list[str]:
    """Null, scratch (a sparse file in the run's own directory), or the user's image."""
    disk = {"data": spec.disk, "data2": "256M"}.get(name, "null")
    if disk == "null":
        return ["-blockdev", f"null-co,node-name={name},size={64 << 30},read-zeroes=on"]
    if is_size(disk):
        return ["-drive", f"if=none,id={name},file={run / name},format=raw,cache=unsafe"]
    image = Path(disk)
    layout = "qcow2" if image.open("rb").read(4) == b"QFI\xfb" else "raw"
    keep = "off" if spec.disk_write else "on"
    return ["-drive", f"if=none,id={name},file={disk.replace(',', ',,')},format={layout},snapshot={keep}"]


def qemu_argv(spec: Spec, run: Path, out_fd: int) -> list[str]:
    """The whole machine.  Pure but for a try of KVM and a look at an image's first bytes."""
    # Before 8.1, processors in threads of their own may run stale code where the kernel patches itself.
    accel = accelerator(spec)
    cpus = 1 if spec.icount else spec.cpus
    board = spec.iommu.board
    argv = [board.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", board.machine + (",kernel-irqchip=split" if accel == "kvm" else ""),
            "-accel", "tcg,thread=single" if accel == "tcg" else "kvm",
            "-cpu", board.cpu if accel == "tcg" else "host", "-smp", str(cpus), "-m", spec.memory,
            *spec.iommu.device,  # before the devices that it translates for
            "-kernel", str(spec.kernel), "-initrd", str(run / "initrd"),
            "-append", " ".join((*board.args, *ARGS, *spec.iommu.args, *spec.mode.args, spec.append)).strip(),
            "-serial", f"file:{run / 'console'}", "-device", "virtio-serial-pci"]
    if spec.icount:
        argv += ["-icount", "shift=1,sleep=off"]
    for channel in CHANNELS:
        path = f"/dev/fd/{out_fd}" if channel == "out" else run / channel
        argv += ["-chardev", f"file,id={channel},path={path}",
                 "-device", f"virtserialport,chardev={channel},name={channel}"]
    if board.dtb:
        argv += ["-dtb", str(run / "dtb")]
    block = "" if spec.block == 512 else f",logical_block_size={spec.block},physical_block_size={spec.block}"
    for name in disks(spec).values():
        argv += blockdev(spec, name, run)
        argv += ["-device", f"nvme,drive={name},serial={name},mdts={MDTS}{block}"]
    if spec.typing:
        argv += ["-chardev", "stdio,id=typing,signal=off", "-device", "virtconsole,chardev=typing"]
    return argv + split("QEMU_EXTRA", spec.qemu_extra)


def busybox(board: Board) -> Path:
    return BUILD / board.programs / "busybox" if board.programs else Path(shutil.which("busybox") or "/bin/busybox")


def base_files(board: Board) -> dict[str, Path | bytes]:
    """What every guest has: a shell, and of fio, engine, jobs and tests whatever is built for its processor."""
    files: dict[str, Path | bytes] = {"/init": ROOT / "harness/guest/init.sh", "/bin/busybox": busybox(board)}
    built = {"/tests/run.sh": ROOT / "tests/kernel/run.sh"}
    built |= {f"/tests/{path.name}": path for path in (BUILD / board.programs / "tests").glob("*") if os.access(path, os.X_OK)}
    if board is PC:
        built |= fio_files()
    return files | {name: path for name, path in built.items() if path.is_file()}


def fio_files() -> dict[str, Path]:
    built = {"/bin/fio": BUILD / "fio", "/bin/meter": BUILD / "meter", "/bin/iocost": BUILD / "iocost", "/usr/lib/dmabuf.so": BUILD / "dmabuf.so",
             "/tests/engine.sh": ROOT / "tests/engine/guest.sh", "/tests/commands.sh": ROOT / "tests/engine/commands.sh",
             "/bin/dmabuf-check": BUILD / "dmabuf-check", "/tests/check.sh": ROOT / "tests/engine/check.sh",
             "/bin/give": BUILD / "give", "/tests/sources.sh": ROOT / "tests/engine/sources.sh",
             "/examples/read": BUILD / "examples/read", "/tests/example.sh": ROOT / "tests/harness/example.sh",
             "/tests/ktap.sh": ROOT / "tests/engine/ktap.sh"}
    built |= {f"/usr/lib/standin/{name}": BUILD / "standin" / name for name in ("libcuda.so.1", "libamdhip64.so", "calls")}
    return built | {f"/jobs/{path.name}": path for path in (ROOT / "jobs").glob("*")}


def user_files(words: str) -> dict[str, Path | bytes]:
    """'HOST[=GUEST] ...' to a mapping; a directory brings what is in it."""
    files: dict[str, Path | bytes] = {}
    for word in split("FILES", words):
        host, _, target = word.partition("=")
        source, place = Path(host), target or f"/root/{Path(host).name}"
        if not source.exists():
            raise Fault(f"FILES names {host}, which does not exist")
        if not place.startswith("/"):
            raise Fault(f"FILES puts {host} at {place}: a guest path starts with /")
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file():
                files[place if path == source else f"{place}/{path.relative_to(source)}"] = path
    return files


def environment(spec: Spec) -> bytes:
    words = " ".join(f"{variable}={'null' if spec.disk == 'null' and serial == 'data' else serial}"
                     for variable, serial in disks(spec).items())
    return f"export MODE={spec.mode.name}\nEXPECT={spec.mode.expect}\nDISKS={shlex.quote(words)}\n".encode()


def check(spec: Spec) -> None:
    """Is this a guest?  All that can be told without its kernel, and before one is built."""
    if not spec.command.strip():
        raise Fault("there is no command to run: say CMD='...'")
    if spec.cpus < 1 or spec.timeout <= 0:
        raise Fault("SMP= and TIMEOUT= must be above 0")
    if not (spec.disk == "null" or is_size(spec.disk) or Path(spec.disk).is_file() or Path(spec.disk).is_block_device()):
        raise Fault(f"DISK={spec.disk} is neither null, a size such as 512M, nor an existing image")
    if not re.fullmatch(r"0*[1-9]\d*[KMGT]?", spec.memory):
        raise Fault(f"MEM={spec.memory} is no size: say 2G, or a number of MiB")
    split("QEMU_EXTRA", spec.qemu_extra)
    if why := spec.iommu.lacks.get(spec.mode.name):
        raise WrongMode(f"IOMMU={spec.iommu.name} has no mode {spec.mode.name}: {why}")


def prepare(spec: Spec, run: Path) -> None:
    check(spec)
    if not spec.kernel.is_file():
        raise Fault(f"there is no kernel {spec.kernel}: name a bzImage with KERNEL=, or run `make kernel`")
    board = spec.iommu.board
    if not (shutil.which(board.qemu) and busybox(board).exists() and (shutil.which("fdtput") or not board.dtb)):
        raise Fault("QEMU, busybox or fdtput is missing: run `make kernel VARIANT=arm64`" if board.programs else
                    "QEMU or busybox is missing: run `make deps`")
    for name, size in (("data", spec.disk), ("data2", "256M")):
        if is_size(size):
            (run / name).touch()
            os.truncate(run / name, int(size[:-1]) << {"K": 10, "M": 20, "G": 30, "T": 40}[size[-1]])
    modules = (spec.kernel.resolve().parent / "modules").glob("*.ko")  # beside a kernel that we built
    files = base_files(board) | {f"/lib/modules/all/{path.name}": path for path in modules} | spec.files
    files |= {"/harness/command": spec.command.encode() + b"\n", "/harness/environment": environment(spec)}
    if board.dtb:
        device_tree(spec, run / "dtb")
    (run / "initrd").write_bytes(cpio(with_libraries(files)))


def device_tree(spec: Spec, path: Path) -> None:
    """The board's own, less some properties."""
    board = spec.iommu.board
    subprocess.run([board.qemu, "-nodefaults", "-display", "none", "-machine", f"{board.machine},dumpdtb={path}", "-cpu", board.cpu,
                    "-smp", str(spec.cpus), "-m", spec.memory], check=True, capture_output=True)
    for node, name in board.dtb:
        subprocess.run(["fdtput", "-d", str(path), node, name], check=True)


@contextmanager
def processor() -> Iterator[str]:
    """A processor of this machine that no other guest of ours is on; waits for one."""
    CACHE.mkdir(parents=True, exist_ok=True)
    mine = sorted(os.sched_getaffinity(0), reverse=True)
    told = False
    while True:
        for cpu in mine:
            with (CACHE / f"processor-{cpu}.lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield str(cpu)
                return
        if not told:
            print("harness: a guest runs on every processor, waiting for one to end", file=sys.stderr)
            told = True
        time.sleep(0.5)


@contextmanager
def terminal() -> Iterator[None]:
    """QEMU sets ours to its liking, and may be killed before it sets it back."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def qemu(argv: list[str], run: Path, out_fd: int, typing: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """QEMU dies with us, however we die."""
    tcg = "-accel" in argv and argv[argv.index("-accel") + 1].startswith("tcg")
    with processor() as cpu, (run / "stderr").open("wb") as stderr:
        # QEMU's NVMe loses doorbells in PASSTHROUGH when its two threads run at once (7.2, unpatched guests too).
        pin = ["taskset", "-c", cpu] if tcg else []
        # Which of them goes on when both could decides how many completions an interrupt finds: 12 to 125 of 1 MiB
        # reads, 660 instructions each. As batch jobs neither breaks in on the other, and what an I/O costs repeats.
        pin += ["chrt", "--batch", "0"] if "-icount" in argv else []
        ours = None if typing else subprocess.DEVNULL
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *pin, *argv], stdin=ours, stdout=ours, stderr=stderr, pass_fds=(out_fd,),
                                   start_new_session=True)  # ^C is for us to handle
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def pump(source: int, sink: Sink, deadline: float) -> bool:
    """Copy the guest's output until QEMU ends (True) or the deadline passes (False)."""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([source], [], [], left)[0]:
            break
        if not (data := os.read(source, 1 << 16)):
            return True
        sink.write(data)
        sink.flush()
    return False


def tail(text: str, lines: int = 25) -> str:
    return "\n".join(text.splitlines()[-lines:])


def judge(spec: Spec, run: Path, ended: bool, returncode: int | None) -> tuple[int, tuple[str, ...]]:
    """Status and observed modes of a finished boot, or the fault that it was."""
    console = (run / "console").read_text(errors="replace") if (run / "console").exists() else ""
    words = [line.split() for line in (run / "status").read_text().splitlines()] if (run / "status").exists() else []
    observed = tuple(value for key, value in words if key == "mode")
    status = next((int(value) for key, value in words if key == "exit"), None)
    if returncode and not console:
        raise Fault(f"QEMU did not start: {' '.join((run / 'stderr').read_text().split())}: "
                    "look at KERNEL=, MEM=, SMP= and QEMU_EXTRA=")
    if lacks := re.findall(r"harness: this kernel has no (\S+)", console):
        modules = " and ".join(f"{name.replace('-', '_')}.ko" for name in lacks)
        raise Fault(f"this kernel has no {' and no '.join(lacks)} driver: build it in, or put {modules} with dependencies "
                    "into modules/ beside KERNEL=")
    if any(value != spec.mode.expect for value in observed):
        raise WrongMode(f"asked for IOMMU mode {spec.mode.name} ({spec.mode.expect}) but the guest reads "
                        f"{', '.join(observed)}: {spec.iommu.lacks.get(spec.mode.name, 'look for IOMMU lines in its log')}")
    complaints = "\n".join(splats(console, spec.provoked)[:20])
    if ended and (status is None or END not in console):
        raise LostGuest(f"the guest ended without a status\n{complaints}\nconsole, last lines:\n{tail(console)}")
    if complaints:
        raise Splat(f"the guest's kernel complained:\n{complaints}\nconsole, last lines:\n{tail(console)}")
    if status is None:
        raise TimedOut(f"still running after {spec.timeout:g} s: raise TIMEOUT=; console, last lines:\n"
                       + tail(console, 5))
    return status, observed


def unpack(archive: Path, target: Path) -> None:
    if archive.exists() and archive.stat().st_size:
        subprocess.run(["tar", "-x", "--no-same-owner", "-C", str(target), "-f", str(archive)], check=True)


def boot(spec: Spec, sink: Sink, keep: Path, started: Callable[[int], None] = lambda pid: None) -> Outcome:
    """Run the command in a guest; stream its output to `sink`, leave console and results in `keep`. `started` is told QEMU's process."""
    with tempfile.TemporaryDirectory(prefix="dmabuf-guest-") as directory:
        run = Path(directory)
        prepare(spec, run)
        keep.mkdir(parents=True, exist_ok=True)
        source, out_fd = os.pipe()
        argv = qemu_argv(spec, run, out_fd)
        try:
            with terminal() if spec.typing else nullcontext(), qemu(argv, run, out_fd, spec.typing) as process:
                os.close(out_fd)
                started(process.pid)
                ended = pump(source, sink, time.monotonic() + spec.timeout)
                returncode = process.wait() if ended else None
        finally:
            os.close(source)
            for name in ("console", "stderr"):
                if (run / name).exists():
                    shutil.copy(run / name, keep / name)
        status, observed = judge(spec, run, ended, returncode)
        unpack(run / "results", keep)
        shown = tuple(word.replace(directory, "RUN").replace(str(spec.kernel), "bzImage") for word in argv)
        return Outcome(status, observed, shown, (run / "console").read_text(errors="replace"), keep)
