# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole test suite, cheapest first, with one count at the end."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from .. import progress
from ..build import products, sources
from ..fault import Fault, LostGuest
from ..judge import regress
from ..machine import filesystems, guest
from ..machine.modes import IOMMUS, MODES, MORE_MODES, Mode
from ..machine.splat import splats
from ..machine.topologies import TOPOLOGIES, TRUSTED, memory_device
from ..measure import gate, host
from ..paths import BUILD, ROOT
from ..record import history, provenance, runs

T = TypeVar("T")
POINT = re.compile(r"^ *(not )?ok \d+.*?(# SKIP.*)?$", re.M)
HOST_TESTS = ("tests/host", "tests/harness", "tests/engine")
ENGINE_TESTS = tuple(f"tests/engine/{name}.py" for name in ("test_engine", "test_dmabuf_check", "test_liburing", "test_gpu", "compare"))
# The exit status tells a suite that broke off from one that failed.
KERNEL_TESTS = "/tests/run.sh $TESTS; [ $? -le 1 ]"
GUEST_TESTS = "/tests/run.sh; kernel=$?; sh /tests/engine.sh; engine=$?; [ $kernel -le 1 ] && [ $engine -le 1 ]"
# What has nothing to do with how memory is mapped: in one mode every day, in the others where there is time.
ANY_MODE = ("header compat io_errors vectored order ublk queues partition fence targets stacked pressure writeback cancel held removal "
            "silence modules kunit kmemleak")


@dataclass(frozen=True)
class Boot:
    """One boot of a guest and the tests in it."""

    name: str
    mode: Mode
    variant: str = "series"
    command: str = GUEST_TESTS
    append: str = ""
    qemu_extra: str = ""
    timeout: float = 2400
    iommu: str = "vtd"
    down: float = 0  # seconds in which the guest goes down by itself, once it has said that it will
    files: Callable[[], dict[str, Path | bytes]] = dict


def host_files() -> dict[str, Path | bytes]:
    """Python and the harness, for a guest that is the machine of `bench --target host`."""
    python = Path(f"/usr/lib/python{sys.version_info.major}.{sys.version_info.minor}")
    trees = {"/usr/bin/python3": Path("/usr/bin/python3"), str(python): python, "/p/harness": ROOT / "harness",
             "/p/jobs": ROOT / "jobs", "/p/host.sh": ROOT / "tests/harness/host.sh",
             "/p/ktap.sh": ROOT / "tests/engine/ktap.sh"}
    trees |= {f"/p/build/{name}": BUILD / name for name in host.NEEDED}
    return guest.user_files(" ".join(shlex.quote(f"{path}={place}") for place, path in trees.items()))


# One controller with two namespaces, of 512-byte and of 4 KiB blocks, that can be detached, and two with metadata.
PAIR = " ".join(("-device nvme-subsys,id=pair -device nvme,id=both,serial=pair,subsys=pair,mdts=9", *(
    f"-drive if=none,id=pair{nsid},driver=null-co,size=64M,read-zeroes=on,snapshot=on "
    f"-device nvme-ns,drive=pair{nsid},bus=both,nsid={nsid},"
    f"{form}" for nsid, form in enumerate(("logical_block_size=512,physical_block_size=512",
                                           "logical_block_size=4096,physical_block_size=4096",
                                           "ms=8", "ms=8,pi=1"), 1))))
# A controller that takes commands of any length, of a namespace that takes seconds to be formatted.
SLOW = ("-drive if=none,id=slow,driver=null-co,size=8G,read-zeroes=on,throttling.bps-write=1073741824 "
        "-device nvme,drive=slow,serial=slow,mdts=0")
# Names are given in the order in which a parallel scan finds the namespaces.
NSID = """\
nsid() { path=$(grep -lx $1 $(dirname $(grep -l '^pair' /sys/class/nvme/*/serial))/nvme*n*/nsid); path=${path%/nsid}; echo /dev/${path##*/}; }
"""
PAIR_TESTS = NSID + """\
/tests/run.sh $(nsid 2) $(nsid 1) partition data queues; [ $? -le 1 ] || exit
/tests/run.sh $(nsid 3) $(nsid 4) integrity; [ $? -le 1 ] || exit
/tests/run.sh $(nsid 1) $(nsid 2) namespace; [ $? -le 1 ] || exit
/tests/run.sh $DEV $DEV2 held limits; [ $? -le 1 ]"""


# Blocks of 4 KiB, and such as have metadata.
COMMANDS_TESTS = NSID + """\
DEV=$(nsid 2) DEV2=$(nsid 1) sh /tests/commands.sh; [ $? -le 1 ] || exit
DEV=$(nsid 3) DEV2=$(nsid 4) sh /tests/commands.sh metadata; [ $? -le 1 ]"""


# One namespace behind two controllers, of which one takes short commands and can be lost without warning, and what the kernel
# calls it.
TWO = ("-device nvme-subsys,id=two -device nvme,id=first,serial=two,subsys=two,mdts=9 "
       "-device pcie-root-port,id=aside,chassis=2 -device nvme,id=second,serial=two,subsys=two,bus=aside,mdts=5 "
       "-drive if=none,id=shared,driver=null-co,size=64M,read-zeroes=on,snapshot=on -device nvme-ns,drive=shared,nsid=1,shared=on")
HEAD = "head=$(echo /sys/class/nvme-subsystem/*/nvme*n1/multipath/nvme*c*n1); head=${head%%/multipath*}; head=/dev/${head##*/}; "


ZONED = ("-device nvme,id=zones,serial=zones -drive if=none,id=zone,driver=null-co,size=64M,read-zeroes=on "
         "-device nvme-ns,drive=zone,bus=zones,zoned=true,zoned.zone_size=4M")


def makers() -> dict[str, Path | bytes]:
    """What makes file systems, and checks them."""
    return filesystems.programs("mkfs.btrfs", "mkfs.ext4", "mkfs.xfs", "e2fsck", "xfs_repair")


def slow(name: str, mode: Mode, variant: str, tests: str = "", without: str = "", qemu_extra: str = f"{ZONED} {SLOW}",
         before: str = "", append: str = "dma_debug_driver=nvme") -> Boot:
    """All programs or some, each with the time that a kernel takes which checks itself."""
    # udmabuf itself maps for a device that does not say how long a segment may be, which dma-debug takes ill.
    return Boot(name, mode, variant, f"{before}export TIMEOUT=3600 PATIENCE=300 WITHOUT='{without}'; TESTS='{tests}'; {KERNEL_TESTS}",
                append, qemu_extra=qemu_extra, timeout=9000, files=makers)


# A host bridge through which Linux lets devices talk to each other, and a BAR that is memory.
PEERS = f"{TRUSTED} {memory_device('16M')}"
# Alone on its bus, which is how that device can be reset.
ALONE = f"-device pcie-root-port,id=alone {PEERS},bus=alone"
# A disk behind a port, which can report errors and lose it: the second one for the tests.
PORT = ("-device pcie-root-port,id=above,chassis=1,x-speed=5 -drive if=none,id=below,driver=null-co,size=64M,read-zeroes=on,snapshot=on "
        "-device nvme,drive=below,serial=below,bus=above,mdts=9")
BELOW = "disk=$(dirname $(grep -l ^below /sys/class/nvme/*/serial)); export DEV2=/dev/${disk##*/}n1; "
BOOTS = (Boot("strict", MODES["strict"]),
         *(Boot(mode.name, mode, command=f"export WITHOUT='{ANY_MODE}'; {GUEST_TESTS}") for mode in MODES.values() if mode.name != "strict"),
         # The last one loses all paths: the head that comes back may have another name.
         Boot("multipath", MODES["strict"], command=f"{HEAD}/tests/run.sh $head $DEV2 data slots passthru queues targets stacked multipath; [ $? -le 1 ]",
              # of which the kernel says more than fits, with ROUNDS=100
              append="nvme_core.multipath=Y log_buf_len=4M", qemu_extra=TWO),
         Boot("namespaces", MODES["lazy"], command=PAIR_TESTS, qemu_extra=f"{PAIR} {SLOW}"),
         # The guest's controllers take SGLs: never, and whenever they can.
         *(Boot(name, MODES["strict"], command=f"TESTS='data limits'; {KERNEL_TESTS}", append=f"nvme.sgl_threshold={threshold}")
           for name, threshold in (("prp", 0), ("sgl", 1))),
         Boot("pcie", MODES["strict"], command=f"{BELOW}TESTS='vfio pcie'; {KERNEL_TESTS}", qemu_extra=f"{ALONE} {PORT}"),
         Boot("files", MODES["lazy"], command=f"TESTS='files snapshot fsx'; {KERNEL_TESTS}", files=makers),
         Boot("reboot", MODES["strict"], command="/tests/shutdown $DEV", down=60, timeout=300),
         Boot("example", MODES["strict"], command="sh /tests/example.sh registered; [ $? -le 1 ]"),
         Boot("host", MODES["strict"], command="cd /p && sh host.sh", files=host_files))
DEVICES = f"-device virtio-gpu-pci {PEERS}"


def steps_files() -> dict[str, Path | bytes]:
    """The engine whose steps fail on demand, and the sanitizers that it is built with."""
    libraries = [Path(subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip())
                 for name in ("libasan.so", "libubsan.so")]
    return {"/usr/lib/steps.so": BUILD / "steps/dmabuf.so"} | {f"/usr/lib/{path.name}": path for path in libraries}


def valgrind_files() -> dict[str, Path | bytes]:
    """What of Debian's valgrind two tools need; memcheck wants the symbols of the loader."""
    loader = subprocess.run(["readelf", "-n", "/lib64/ld-linux-x86-64.so.2"], capture_output=True, text=True, check=True).stdout
    start, rest = re.findall(r"Build ID: (\w\w)(\w+)", loader)[0]
    tools = ("memcheck-amd64-linux", "callgrind-amd64-linux", "vgpreload_core-amd64-linux.so",
             "vgpreload_memcheck-amd64-linux.so", "default.supp")
    paths = ("/usr/bin/valgrind", "/usr/bin/valgrind.bin", f"/usr/lib/debug/.build-id/{start}/{rest}.debug",
             *(f"/usr/libexec/valgrind/{tool}" for tool in tools))
    return {path: Path(path) for path in paths} | {"/tests/valgrind.sh": ROOT / "tests/engine/valgrind.sh"}


def stack_files() -> dict[str, Path | bytes]:
    """What makes volumes and arrays."""
    tools = [(name, Path("/sbin") / name) for name in ("dmsetup", "mdadm")]
    tools += [(name, Path("/sbin/lvm")) for name in ("pvcreate", "pvremove", "vgcreate", "vgremove", "lvcreate")]
    return {f"/bin/{name}": path for name, path in tools} | {"/tests/stacks.sh": ROOT / "tests/engine/stacks.sh"}


STEPS = ("export ENGINE=/usr/lib/steps.so LD_PRELOAD='/usr/lib/libasan.so /usr/lib/libubsan.so' ASAN_OPTIONS=detect_leaks=0\n"
         "sh /tests/sources.sh steps; [ $? -le 1 ]")
ENGINE_BOOTS = (
    Boot("valgrind", MODES["strict"], command="sh /tests/valgrind.sh; [ $? -le 1 ]", files=valgrind_files),
    Boot("sources-steps", MODES["strict"], command=STEPS, append="cma=64M", qemu_extra=DEVICES, files=steps_files),
    *(Boot(f"sources-{mode.name}", mode, command="sh /tests/sources.sh; [ $? -le 1 ]", append="cma=64M", qemu_extra=DEVICES)
      for mode in MODES.values()),
    *(Boot(mode.name, mode, command="sh /tests/check.sh ready; check=$?; sh /tests/engine.sh; engine=$?; sh /tests/commands.sh; "
                                   "[ $? -le 1 ] && [ $check -le 1 ] && [ $engine -le 1 ]")
      for mode in MODES.values()),
    Boot("swiotlb", MORE_MODES["swiotlb"], command="sh /tests/bounce.sh; [ $? -le 1 ]",
         files=lambda: {"/tests/bounce.sh": ROOT / "tests/engine/bounce.sh"}),
    Boot("multipath", MODES["strict"], command="sh /tests/check.sh multipath; check=$?; sh /tests/commands.sh multipath; [ $? -le 1 ] && [ $check -le 1 ]",
         append="nvme_core.multipath=Y nvme_core.multipath_always_on=Y"),
    Boot("commands", MODES["strict"], command=COMMANDS_TESTS, qemu_extra=PAIR),
    Boot("stacks", MODES["strict"], command="sh /tests/stacks.sh; [ $? -le 1 ]", files=stack_files),
    # BOOTS has one named files, of the kernel's tests.
    Boot("engine-files", MODES["strict"], command="sh /tests/files.sh; [ $? -le 1 ]",
         files=lambda: makers() | {"/tests/files.sh": ROOT / "tests/engine/files.sh"}),
    Boot("unpatched", MODES["strict"], "unpatched", command="sh /tests/check.sh unpatched; check=$?; sh /tests/commands.sh unpatched; commands=$?; "
         "sh /tests/example.sh unpatched; [ $? -le 1 ] && [ $check -le 1 ] && [ $commands -le 1 ]"),
)
# By which way a disk gets at the memory, as the kernel has to say; and whether QEMU carries the bytes. Without an IOMMU there
# is no VFIO to export it.
# In LAZY by PRPs alone, in PASSTHROUGH by SGLs wherever they can be.
FORMS = {"strict": "", "lazy": "nvme.sgl_threshold=0", "passthrough": "nvme.sgl_threshold=1"}
NEAR = "of() { grep -l ^$1 /sys/class/nvme/*/serial; }; disk() { path=$(dirname $(of $1)); echo /dev/${path##*/}n1; }; "
P2P_BOOTS = tuple(
    Boot(f"p2p-{topology}-{mode}{'-untrusted' if untrusted else ''}", MODES[mode],
         command=f"{NEAR}near=$(disk near) giver=$(disk giver); export EXPECT={expect} DATA={'yes' if data else 'no'}; "
                 "MEMORY=ivshmem /tests/run.sh $near p2p; first=$?; DEV=$near sh /tests/reach.sh; engine=$?; "
                 "MEMORY=cmb /tests/run.sh $near $giver p2p; [ $? -le 1 ] && [ $first -le 1 ] && [ $engine -le 1 ]",
         append=FORMS[mode], qemu_extra=f"{TOPOLOGIES[topology].args}{' -cpu max' if untrusted else ''}",
         files=lambda: {"/tests/reach.sh": ROOT / "tests/engine/reach.sh"})
    for topology, mode, untrusted, expect, data in (
        # QEMU sends what passes from port to port of a switch through its IOMMU, which knows no addresses of the bus.
        ("switch", "strict", False, "bus", False),
        ("switch", "lazy", True, "bus", False),
        ("switch", "passthrough", False, "bus", True),
        ("ports", "strict", False, "iova", True),
        ("ports", "lazy", False, "iova", True),
        ("ports", "passthrough", False, "physical", True),
        ("ports", "strict", True, "refused", False),
        ("ports", "passthrough", True, "refused", False),
        ("apart", "strict", False, "iova", True),
        ("apart", "passthrough", False, "physical", True),
        ("apart", "lazy", True, "refused", False)))
CONCURRENT = "register_errors io_errors order slots exporter invalidate cancel held fuzz reset pressure writeback removal lifetime"
STORMS, DATA = "invalidate reset cancel", "data queues vectored"
DEBUG_BOOTS = {boot.name: boot for boot in (
    # Several boots, so that processors share what takes longest.
    slow("debug-storms", MODES["strict"], "debug", STORMS),
    slow("debug-strict", MODES["strict"], "debug", without=f"{STORMS} {DATA}"),
    slow("debug-data", MODES["strict"], "debug", DATA),
    slow("debug-files", MODES["strict"], "debug", "files snapshot fsx", before="export OPS=3000; "),
    slow("debug-multipath", MODES["strict"], "debug", "slots passthru targets stacked multipath", qemu_extra=TWO,
         before=f"{HEAD}export DEV=$head; ", append="dma_debug_driver=nvme nvme_core.multipath=Y"),
    slow("debug-pcie", MODES["strict"], "debug", "vfio pcie", qemu_extra=f"{ALONE} {PORT}", before=BELOW),
    *(Boot(f"{mode.name}-rest", mode, command=f"TESTS='{ANY_MODE}'; {KERNEL_TESTS}") for mode in MODES.values() if mode.name != "strict"),
    slow("kcsan-strict", MODES["strict"], "kcsan", CONCURRENT),
    # This kernel has quota, encryption and verity.
    slow("kcsan-files", MODES["strict"], "kcsan", "files"),
    slow("rt-strict", MODES["strict"], "rt", CONCURRENT),
    # Everything without an IOMMU, and on the debug kernel what has to do with mappings.
    Boot("off", MORE_MODES["off"]),
    slow("debug-off", MORE_MODES["off"], "debug", "slots exporter invalidate fuzz reset"),
    # All that there is to see: no dma-buf is taken.
    Boot("swiotlb", MORE_MODES["swiotlb"], command=f"TESTS=bounce; {KERNEL_TESTS}"),
    # Pages of 64 KiB; and devices for which Linux maintains caches, with and without an IOMMU's mapping.
    Boot("arm64-strict", MODES["strict"], "arm64", f"export WITHOUT=compat; {KERNEL_TESTS}", iommu="smmu", timeout=5400),
    *(Boot(f"arm64-noncoherent-{mode}", MODES[mode], "arm64", f"TESTS='data slots exporter invalidate'; {KERNEL_TESTS}",
           iommu="smmu-noncoherent", timeout=5400) for mode in ("strict", "passthrough")),
)}
# By tests of devices that do not answer.
PROVOKED = r"nvme nvme\d+: I/O tag .* timeout"


@dataclass(frozen=True)
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def ktap(text: str) -> Tally:
    """Every test point at every level: a program's own line says that it ended well in a quiet kernel."""
    points = list(POINT.finditer(text))
    failed = sum(1 for point in points if point[1])
    skipped = sum(1 for point in points if point[2] and not point[1])
    return Tally(len(points) - failed - skipped, failed, skipped)


def worth_saying(text: str) -> Iterator[str]:
    """Points that failed, each after what it had said, and those that were skipped."""
    remarks: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("# "):
            remarks.append(line)
        elif POINT.match(line):
            if line.startswith("not"):
                yield from remarks
            if line.startswith("not") or "# SKIP" in line:
                yield line
            remarks.clear()


def junit(path: Path) -> Tally:
    suites = xml.etree.ElementTree.parse(path).getroot().iter("testsuite")
    counts = [{key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")} for suite in suites]
    failed = sum(count["failures"] + count["errors"] for count in counts)
    skipped = sum(count["skipped"] for count in counts)
    return Tally(sum(count["tests"] for count in counts) - failed - skipped, failed, skipped)


def host_tests(names: tuple[str, ...] = HOST_TESTS) -> Tally:
    report = BUILD / "pytest.xml"
    report.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-rs", f"--junitxml={report}",
                    *(name for name in names if (ROOT / name).exists())], cwd=ROOT)
    return junit(report) if report.exists() else Tally(failed=1)


def series_check(verb: str, base: Path) -> Tally:
    return Tally(failed=1) if products.series(verb, "--base", str(base)) else Tally(passed=1)


def drawn() -> str:
    """The commit of the series whose turn it is: another one with each commit of this repository."""
    known = products.commits()
    return known[int(provenance.git("rev-parse", "HEAD") or "0", 16) % len(known)]


def one_commit(base: Path, commit: str) -> Tally:
    """Without Sphinx, which `make kernel-check-all` installs, the pages are not built, and check.py says so."""
    pages = Tally() if shutil.which("sphinx-build") else Tally(skipped=1)
    return pages + (Tally(failed=1) if products.each_commit(base, "--commits", commit) else Tally(passed=1))


class Aloud:
    """A guest's output on its way to a file: what run.sh says at the end of each program is progress."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name, self.line = file, name, b""

    def write(self, data: bytes) -> None:
        self.file.write(data)
        *lines, self.line = (self.line + data).split(b"\n")
        for line in lines:
            if re.match(rb"# \w+ took ", line):
                progress.say(f"  {self.name}: {line[2:].decode()}")

    def flush(self) -> None:
        self.file.flush()


# What the program says before it takes the guest down, what the test exporter then does last, and that it is over.
GOING = re.compile(r"^\[ *([\d.]+)\] tests/kernel: going down$", re.M)
TAKEN = re.compile(r"dma-buf-io-test: took back [1-9]\d* buffers")
GONE = re.compile(r"^\[ *([\d.]+)\] reboot: Restarting system$", re.M)


def went_down(console: str, within: float) -> str:
    """Why a guest that said that it goes down did not as it should; nothing if it did.  The times are its own."""
    going, gone = GOING.search(console), GONE.search(console)
    if complaints := splats(console, PROVOKED):
        return f"its kernel complained: {complaints[0]}"
    if not going or not gone:
        return f"it {'did not go down' if going else 'never said that it goes down'}; its console ends in:\n{guest.tail(console, 8)}"
    if not TAKEN.search(console):
        return "the test exporter had nothing to take back"
    took = float(gone[1]) - float(going[1])
    progress.say(f"  it took {took:.1f} s to go down")
    return f"that is more than {within:g} s" if took > within else ""


def boot_down(boot: Boot, kernel: Path) -> Tally:
    """A guest that is to be lost, soon and quietly."""
    keep = BUILD / "test" / boot.name
    keep.mkdir(parents=True, exist_ok=True)
    spec = guest.Spec(kernel=kernel, mode=boot.mode, command=boot.command, timeout=boot.timeout)
    try:
        with (keep / "out.txt").open("wb") as out:
            guest.boot(spec, Aloud(out, boot.name), keep)
        why = f"it is still there: {(keep / 'out.txt').read_text(errors='replace')}"
    except LostGuest:
        why = went_down((keep / "console").read_text(errors="replace"), boot.down)
    except Fault as fault:
        why = str(fault)
    if why:
        progress.say(f"  {why}")
    return Tally(failed=1) if why else Tally(passed=1)


def guest_tests(boot: Boot, kernel: Path) -> Tally:
    """The tests of one boot; what failed or was skipped is shown, all of it is kept."""
    if boot.down:
        return boot_down(boot, kernel)
    keep = BUILD / "test" / boot.name
    keep.mkdir(parents=True, exist_ok=True)
    broken = False
    try:
        with (keep / "out.txt").open("wb") as out:
            spec = guest.Spec(kernel=kernel, mode=boot.mode, command=boot.command, memory="4G", timeout=boot.timeout,
                              append=boot.append, qemu_extra=boot.qemu_extra, provoked=PROVOKED, iommu=IOMMUS[boot.iommu],
                              files=boot.files())
            broken = guest.boot(spec, Aloud(out, boot.name), keep).status != 0
    except Fault as fault:
        broken = True
        progress.say(f"{fault}")
    said = (keep / "out.txt").read_text(errors="replace")
    for line in worth_saying(said):
        progress.say(f"  {boot.name}: {line}")
    tally = ktap(said)
    if broken and not tally.failed:
        progress.say(f"  {boot.name}: the tests broke off; {keep / 'out.txt'} ends in:\n{guest.tail(said, 8)}")
        tally += Tally(failed=1)
    return tally


def step(title: str, tally: Callable[[], Tally]) -> Tally:
    progress.say(f"== {title}")
    start = time.monotonic()
    got = tally()
    progress.say(f"== {title}: {got} in {progress.clock(time.monotonic() - start)}")
    return got


def at_once() -> int:
    """Guests that there are processors and memory for."""
    available = int(re.findall(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())[0])
    return max(1, min(len(os.sched_getaffinity(0)), available // (5 << 20)))


def side_by_side(work: Iterable[Callable[[], T]]) -> list[T]:
    """Some at a time, in threads that do not outlive an interrupted main one."""
    todo = [(each, Future[T]()) for each in work]
    left = iter(todo)

    def run() -> None:
        for each, future in left:
            try:
                future.set_result(each())
            except BaseException as error:
                future.set_exception(error)

    for _ in range(at_once()):
        threading.Thread(target=run, daemon=True).start()
    return [future.result() for _, future in todo]


def boots(which: Iterable[Boot], kernels: dict[str, Path]) -> Tally:
    """Guests beside guests; what takes longest should come first."""
    return sum(side_by_side([lambda boot=boot: step(f"guest tests, {boot.name}", lambda: guest_tests(boot, kernels[boot.variant]))
                             for boot in which]), Tally())


# Of the recorded commit, of this one, and what is worse: writes the report, and is its text.
Show = Callable[[dict[str, Any], dict[str, Any], list[regress.Finding]], str]


def cost_gate(kernel: Path, show: Show) -> Tally:
    """Instructions and operations per I/O against the record of the nearest ancestor; a point for each cell."""
    try:
        gate.commit()
        base = history.find("")
        why = regress.unlike(base, provenance.made_of_kernel(kernel)["made_from"])
        if why:  # to measure it again takes one kernel more, for which a pipeline has no time
            why += " (`make regress` measures that commit again)"
    except Fault as fault:
        why = str(fault)
    if why:
        progress.say(f"  skipped: {why}")
        return Tally(skipped=1)
    try:
        with runs.alone("regress"):
            new, found = regress.against(base, MODES, kernel)
            progress.say(show(base, new, found))
    except Fault as fault:  # data that does not verify is one
        progress.say(f"{fault}")
        return Tally(failed=1)
    return Tally(len(new["cells"]) - len({finding.cell for finding in found}), len(found))


def quick(kernel_source: str, fio_source: str, show_gate: Show, short_bench: Callable[[Path], bool]) -> Tally:
    """Every step runs even if an earlier one failed, but for what cannot: no kernel, no guest."""
    products.engine(fio_source)
    sources.liburings()
    base = sources.kernel(kernel_source).tree
    total = step("host tests", host_tests)
    total += step("series round trip", lambda: series_check("check", base))
    total += step("checkpatch", lambda: series_check("checkpatch", base))
    commit = drawn()
    total += step(f"commit {commit} of the series by itself, on and off", lambda: one_commit(base, commit))
    kernel = products.kernel(kernel_source)
    total += boots(BOOTS, dict.fromkeys((boot.variant for boot in BOOTS), kernel))
    total += step("cost gate", lambda: cost_gate(kernel, show_gate))
    return total + step("short bench", lambda: Tally(passed=1) if short_bench(kernel) else Tally(failed=1))


def engine(kernel_source: str, fio_source: str) -> Tally:
    """The engine alone, and more of it: every option beside fio's own engine, and what dmabuf-check says of each machine."""
    products.engine(fio_source)
    sources.liburings()
    total = step("host tests", lambda: host_tests(ENGINE_TESTS))
    return total + boots(ENGINE_BOOTS, {variant: products.kernel(kernel_source, variant)
                                        for variant in dict.fromkeys(boot.variant for boot in ENGINE_BOOTS)})


def run_p2p(kernel_source: str, fio_source: str) -> Tally:
    """Which way each mapping goes, in each place that a disk and a device with memory can have."""
    products.engine(fio_source)
    kernel = products.kernel(kernel_source)
    return boots(P2P_BOOTS, {"series": kernel})


def debug(kernel_source: str, fio_source: str, names: tuple[str, ...]) -> Tally:
    """What takes too long for every day."""
    products.engine(fio_source)
    chosen = [DEBUG_BOOTS[name] for name in names]
    return boots(chosen, {variant: products.kernel(kernel_source, variant) for variant in dict.fromkeys(boot.variant for boot in chosen)})
