# SPDX-License-Identifier: GPL-2.0-or-later
"""Pristine sources in the cache: named by the user, cached, from the distribution, from kernel.org."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import progress
from ..fault import Fault
from ..paths import CACHE, ROOT

FIO_VERSION = "3.33"
FIO_SUITES = {FIO_VERSION: "bookworm", "3.39": "trixie", "3.41": "sid"}
LIBURING_SUITES = {"2.3": "bookworm", "2.9": "trixie", "2.15": "sid"}
UPSTREAM = "https://cdn.kernel.org/"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SPACE_NEEDED = 6 << 30


@dataclass(frozen=True)
class Source:
    tree: Path
    name: str  # what identifies the content: a key for whatever is derived from it
    of: str = ""  # where it came from, if that may change its content: what is built there is built on

    @property
    def place(self) -> str:
        return self.of or self.name


def base() -> dict[str, str]:
    """kernel/BASE: one `key value` a line."""
    lines = (ROOT / "kernel/BASE").read_text().splitlines()
    return dict(line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def used(path: Path) -> Path:
    """What is in use now is not what `make clean-cache` removes."""
    os.utime(path)
    return path


def room() -> None:
    if re.search(r"[\s:]", str(CACHE)):
        raise Fault(f"{CACHE} has a blank or a colon in its path, in which neither Linux nor fio can be built: set XDG_CACHE_HOME elsewhere")
    CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(CACHE).free
    if free < SPACE_NEEDED:
        raise Fault(f"{CACHE} has {free >> 20} MiB free and needs {SPACE_NEEDED >> 20}: "
                    "make room or set XDG_CACHE_HOME elsewhere")


def extract(archive: Path, name: str) -> Path:
    """Unpack once, to a place that exists only when complete."""
    target = CACHE / "src" / name
    if target.exists():
        return target
    room()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".extract-", dir=target.parent) as scratch:
        progress.run(f"unpacking {archive.name} ({archive.stat().st_size >> 20} MiB)",
                     ["tar", "-x", "--no-same-owner", "--strip-components=1", "-C", scratch, "-f", str(archive)],
                     CACHE / "log/extract")
        os.chmod(scratch, 0o755)
        Path(scratch).rename(target)
        Path(scratch).mkdir()  # for the context manager to remove
    return target


def mirror() -> str:
    """The Debian mirror that this machine already uses."""
    if not shutil.which("apt-get"):
        raise Fault("there is no apt-get here: name sources with KERNEL_SRC= and FIO_SRC=")
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(LABEL) $(SITE)", "Created-By: Packages"],
                             capture_output=True, text=True).stdout.splitlines()
    sites = [line.split()[1] for line in targets if line.startswith("Debian ")]
    if not sites:
        raise Fault("apt knows no Debian mirror here: run `apt-get update`, or name a source with KERNEL_SRC= and FIO_SRC=")
    return sites[0]


def apt(line: str, *arguments: str, arch: str = "") -> Path:
    """Run apt-get in the download directory with a configuration of our own that holds one source line."""
    private, downloads = CACHE / "apt", CACHE / "dl"
    for directory in (private / "lists/partial", private / "cache/archives/partial", downloads):
        directory.mkdir(parents=True, exist_ok=True)
    only = f"arch={arch} " if arch else ""
    (private / "sources.list").write_text(line.format(signed=f"[{only}signed-by={KEYRING}]", mirror=mirror()) + "\n")
    options = {"Dir::Etc::SourceList": private / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
               "Dir::State": private, "Dir::State::Lists": private / "lists", "Dir::Cache": private / "cache",
               "Dir::State::status": "/dev/null", "APT::Sandbox::User": "root", "Acquire::Retries": 3}
    if arch:
        options["APT::Architectures"] = arch
    command = ["apt-get", "-q", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    progress.run("reading the package lists", [*command, "update"], CACHE / "log/apt-update", cwd=downloads)
    progress.run(f"apt-get {' '.join(arguments)}", [*command, *arguments], CACHE / "log/apt-get", cwd=downloads)
    return downloads


def unpacked(target: Path, suite: str, *packages: str, arch: str = "") -> Path:
    """What packages of a suite hold, side by side in the cache."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    names = [f"{name}:{arch}" if arch else name for name in packages]
    downloads = apt(f"deb {{signed}} {{mirror}} {suite} main", "download", *names, arch=arch)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        for name in packages:
            deb = next(downloads.glob(f"{name}_*_{arch}*.deb"))
            progress.run(f"opening {deb.name}", ["dpkg-deb", "-x", str(deb), scratch], CACHE / "log/dpkg-deb")
            deb.unlink()
        os.chmod(scratch, 0o755)
        Path(scratch).rename(target)
        Path(scratch).mkdir()  # for the context manager to remove
    return target


def arm64() -> Path:
    """What the guests of that processor have of Debian's: busybox, and liburing to link with."""
    return unpacked(CACHE / "src/arm64", "bookworm", "busybox-static", "liburing-dev", arch="arm64")


def liburings() -> None:
    """Each release that Debian has, beside the one installed; tests/engine/test_liburing.py looks for them."""
    for version, suite in LIBURING_SUITES.items():
        try:
            unpacked(CACHE / f"src/liburing-{version}", suite, "liburing-dev", "linux-libc-dev")  # whose headers go together
        except Fault as fault:
            progress.say(f"no liburing {version} of {suite} to test with: {str(fault).splitlines()[:2][-1]}")


def kernel_from_debian(pin: dict[str, str]) -> Source:
    source = Source(CACHE / "src" / f"linux-{pin['debian-sha256'][:16]}", pin["debian-sha256"][:16])
    if source.tree.exists():
        return source
    room()
    package = f"{pin['debian-package']}={pin['debian-version']}"
    downloads = apt(f"deb {{signed}} {{mirror}} {pin['debian-suite']} main", "download", package)
    deb = next(downloads.glob(f"{pin['debian-package']}_*.deb"))
    with tempfile.TemporaryDirectory(dir=downloads) as scratch:
        progress.run(f"opening {deb.name}", ["dpkg-deb", "-x", str(deb), scratch], CACHE / "log/dpkg-deb")
        tarball = Path(scratch) / "usr/src" / pin["debian-tarball"]
        if sha256(tarball) != pin["debian-sha256"]:
            raise Fault(f"{deb.name} holds another {tarball.name} than kernel/BASE names: name a source with KERNEL_SRC=")
        extract(tarball, source.tree.name)
    deb.unlink()
    return source


def kernel_from_upstream(pin: dict[str, str]) -> Source:
    source = Source(CACHE / "src" / f"linux-{pin['version']}-upstream", f"{pin['version']}-upstream")
    if source.tree.exists():
        return source
    path = pin["upstream-tarball"]
    name, directory = Path(path).name, CACHE / "dl"
    directory.mkdir(parents=True, exist_ok=True)
    for url, output in ((UPSTREAM + path, name), (f"{UPSTREAM}{Path(path).parent}/sha256sums.asc", "sha256sums.asc")):
        progress.run(f"fetching {output}", ["curl", "-fsSL", "-C", "-", "-o", output, url], CACHE / "log/curl",
                     cwd=directory)
    published = re.search(rf"^([0-9a-f]{{64}})  {re.escape(name)}$", (directory / "sha256sums.asc").read_text(), re.M)
    if not published or sha256(directory / name) != published[1]:
        (directory / name).unlink()
        raise Fault(f"{name} does not have its published checksum: fetch it again, or name a source with KERNEL_SRC=")
    extract(directory / name, source.tree.name)
    (directory / name).unlink()
    return source


def look(named: Path) -> None:
    """Is it what can be named with KERNEL_SRC=?  Of a tarball, only once it is unpacked."""
    if not named.exists():
        raise Fault(f"KERNEL_SRC={named} does not exist: name a kernel tree or a tarball")
    if not named.is_dir():
        return
    makefile = (named / "Makefile").read_text() if (named / "Makefile").exists() else ""
    version, wanted = ".".join(re.findall(r"^(?:VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", makefile, re.M)), base()["version"]
    if version != wanted:
        raise Fault(f"KERNEL_SRC={named} is Linux {version or '(no kernel)'}, the series is for {wanted}")


def entries(tree: Path, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Files and links of a tree, in order; what git keeps for itself is not part of it."""
    with os.scandir(tree / below) as found:
        for each in sorted(found, key=lambda each: each.name):
            name = f"{below}{each.name}"
            if each.is_dir(follow_symlinks=False):
                if name != ".git":
                    yield from entries(tree, f"{name}/")
            elif name != ".git":
                yield name, each.stat(follow_symlinks=False)


def content(tree: Path) -> str:
    """A key of the bytes in a tree.  They are read again only if a size or a time has changed."""
    seen, read = hashlib.sha256(), hashlib.sha256()
    files = list(entries(tree))
    for name, info in files:
        seen.update(f"{name}\0{info.st_mode}\0{info.st_size}\0{info.st_mtime_ns}\0{info.st_ctime_ns}\n".encode(errors="surrogateescape"))
    known = CACHE / "trees" / hashlib.sha256(str(tree).encode()).hexdigest()[:16]
    if known.exists() and known.read_text().split()[:1] == [seen.hexdigest()]:
        return known.read_text().split()[1]
    progress.say(f"reading {tree} ...")
    for name, info in files:
        path = tree / name
        what = os.readlink(path) if path.is_symlink() else sha256(path)
        read.update(f"{name}\0{info.st_mode & 0o170111}\0{what}\n".encode(errors="surrogateescape"))
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(f"{seen.hexdigest()} {read.hexdigest()[:16]}\n")
    return read.hexdigest()[:16]


def kernel_from_user(named: Path) -> Source:
    look(named)
    if named.is_dir():
        tree = named.resolve()
        return Source(tree, content(tree), hashlib.sha256(str(tree).encode()).hexdigest()[:16])
    name = sha256(named)[:16]
    source = Source(extract(named, f"linux-{name}"), name)
    look(source.tree)
    return source


def kernel(named: str = "") -> Source:
    source = find_kernel(named)
    if not source.of:  # ours, in the cache
        used(source.tree)
    return source


def find_kernel(named: str) -> Source:
    pin = base()
    if named:
        return kernel_from_user(Path(named))
    try:
        return kernel_from_debian(pin)
    except Fault as distribution:
        progress.say(f"not from the distribution: {str(distribution).splitlines()[0]}")
        try:
            return kernel_from_upstream(pin)
        except Fault:
            raise Fault(f"no Linux {pin['version']} source: neither the distribution's {pin['debian-package']} nor "
                        "kernel.org could be reached; name a tree or tarball with KERNEL_SRC=") from distribution


def fio(named: str = "") -> Path:
    """A fio source tree; the one in the cache is ours to build in."""
    if named:
        if not (Path(named) / "ioengines.h").exists():
            raise Fault(f"FIO_SRC={named} is not a fio source tree")
        return Path(named).resolve()
    return fio_release(FIO_VERSION, FIO_SUITES[FIO_VERSION])


def fio_release(version: str, suite: str) -> Path:
    target = CACHE / "src" / f"fio-{version}"
    if not target.exists():
        downloads = apt(f"deb-src {{signed}} {{mirror}} {suite} main", "source", "--tar-only", "--download-only", "fio")
        tarball = next(downloads.glob(f"fio_{version}*.orig.tar.*z"), None)
        if not tarball:
            raise Fault(f"{suite} no longer has fio {version}: name a source tree with FIO_SRC=")
        extract(tarball, target.name)
    return used(target)
