# SPDX-License-Identifier: GPL-2.0-or-later
"""What a newcomer types on another release of Debian: in a root of its own, which is gone afterwards.

The kernel is handed in, not built again: it depends on the compiler, and takes long.
"""

import shlex
import shutil
import subprocess
import time
from pathlib import Path

from .. import progress, typed
from ..build import cache, deps, sources
from ..fault import Fault
from ..paths import BUILD, CACHE, ROOT

SKIPPED = 77
SUITES = tuple(sources.FIO_SUITES.values())
KEPT = ("resolv.conf", "hosts", "apt/apt.conf.d")  # how this machine reaches a mirror
SCRATCH = "/var/tmp/job"
JOB = ("--registration=user --name=job --filename=f --size=1m --rw=randrw --bs=4k --iodepth=8 --verify=crc32c --verify_fatal=1 "
       "--output-format=json >out.json")
# A title and what is typed at the top of the checkout, in order; a step that fails does not stop the next.
STEPS = (
    ("make engine", "make engine"),
    ("the engine from anywhere, by path", f"mkdir -p {SCRATCH} && here=$PWD && cd {SCRATCH} && "
     f"$here/build/fio --ioengine=external:$here/build/dmabuf.so {JOB}"),
    ("the engine from anywhere, installed", f"""\
make install && mkdir -p {SCRATCH} && here=$PWD && cd {SCRATCH}
for name in dmabuf.so external:/usr/local/lib/dmabuf.so; do $here/build/fio --ioengine=$name {JOB}; done
make -C $here uninstall
"""),
    ("the engine for Debian's own fio", """\
make deb || { grep -q "404  Not Found" /root/.cache/dmabuf-bench/log/apt-get && make deb FIO_SRC=/root/.cache/dmabuf-bench/src/fio-3.33 && exit 77; exit 1; }
apt-get -q install -y --no-install-recommends fio >&2 && dpkg -i build/deb/*.deb && dmabuf-check --help >/dev/null
""" + f"""mkdir -p {SCRATCH} && cd {SCRATCH}
for name in dmabuf.so external:/usr/lib/dmabuf.so; do /usr/bin/fio --ioengine=$name {JOB}; done
"""),
    ("host tests", "/usr/bin/python3 -c 'from harness.build import sources; sources.liburings()'; "
     "/usr/bin/python3 -m pytest -q -rs tests/host tests/harness tests/engine"),
    ("a guest", "make guest-run MODE=strict KERNEL=/kernel/bzImage CMD='sh /tests/check.sh ready'"),
    ("make bench", "make bench BENCH=short MODES=strict KERNEL=/kernel/bzImage"),
)


def steps_named(value: str) -> tuple[str, ...]:
    """Words, each in the title of a step."""
    for word in value.split():
        if not any(word in title for title, _ in STEPS):
            raise Fault(f"{typed.said('steps', value)}: no step has {word} in its title, of {', '.join(title for title, _ in STEPS)}")
    return tuple(value.split())


def copy_checkout(target: Path) -> None:
    """What git has or would have, and not what was built."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True)
    if listed.returncode:
        raise Fault(f"{ROOT} is no git checkout: {listed.stderr.strip()}")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def make_root(suite: str, root: Path, kernel: Path) -> None:
    progress.run(f"making a root of Debian {suite}",
                 ["debootstrap", "--variant=minbase", "--include=make,python3,ca-certificates", suite, str(root), sources.mirror()],
                 CACHE / "log/debootstrap")
    for name in KEPT:
        there, here = root / "etc" / name, Path("/etc") / name
        if here.is_dir():
            shutil.copytree(here, there, dirs_exist_ok=True)
        elif here.exists():
            shutil.copy(here, there)
    copy_checkout(root / "src")
    shutil.copytree(kernel.resolve().parent, root / "kernel")


def enter(root: Path, command: str) -> list[str]:
    """In namespaces that end with the command, so that no mount and no process is left; the root is a mount, or nothing in it could be one."""
    place = shlex.quote(str(root))
    mounts = f"mount --bind {place} {place} && mount -t proc proc {place}/proc && mount --rbind /sys {place}/sys && mount --rbind /dev {place}/dev"
    inside = f"export HOME=/root TMPDIR=/var/tmp LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1; set -e; cd /src; {command}"
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
            f"{mounts} && exec chroot {place} /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c {shlex.quote(inside)}"]


def test(suite: str, kernel: Path, only: tuple[str, ...]) -> int:
    """The number of steps that failed; what they said is in build/debian/SUITE."""
    deps.install(("debootstrap",))
    sources.room()
    logs = BUILD / "debian" / suite
    logs.mkdir(parents=True, exist_ok=True)
    failed = 0
    with cache.scratch(f"debian-{suite}") as scratch:
        root = Path(scratch) / "root"
        make_root(suite, root, kernel)
        for number, (title, command) in enumerate(STEPS, 1):
            if only and not any(word in title for word in only):
                continue
            log, start = logs / f"{number}.log", time.monotonic()
            with log.open("w") as output:
                status = subprocess.run(enter(root, command), stdout=output,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode
            said = log.read_text(errors="replace").strip().splitlines()
            good = status in (0, SKIPPED)
            skipped = " # SKIP its source is not on this mirror: a package for another fio was made, and not installed" if status == SKIPPED else ""
            progress.say(f"{'ok' if good else 'not ok'} {number} - {suite}: {title} ({progress.clock(time.monotonic() - start)}){skipped}")
            for line in said[(-2 if good else -15):]:
                progress.say(f"# {line}")
            failed += not good
    return failed
