# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel, fio, engine, tests and meter, each built once for what it is made from."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from .. import locks, progress
from ..fault import Fault
from ..paths import BUILD, CACHE, ROOT
from . import deps, sources

CONFIGS = ROOT / "kernel/configs"
SERIES = ROOT / "kernel/series.py"
OBJECTS = 1700  # what the configuration compiles, for the progress line
# The same input gives the same output, wherever the cache lives.
REPRODUCIBLE = {"KBUILD_BUILD_TIMESTAMP": "1970-01-01", "KBUILD_BUILD_USER": "dmabuf", "KBUILD_BUILD_HOST": "bench",
                "CCACHE_DIR": str(CACHE / "ccache"), "CCACHE_BASEDIR": str(CACHE), "CCACHE_NOHASHDIR": "1",
                "CCACHE_MAXSIZE": "2G"}


@dataclass(frozen=True)
class Arch:
    image: str  # that make leaves
    prefix: str = ""  # of the compiler and its tools
    make: tuple[str, ...] = ()


X86 = Arch("arch/x86/boot/bzImage")
ARM64 = Arch("arch/arm64/boot/Image", "aarch64-linux-gnu-", ("ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"))


@dataclass(frozen=True)
class Variant:
    image: str  # its name in build/
    patched: bool
    fragments: tuple[str, ...]  # of kernel/configs, later ones win
    arch: Arch = X86


VARIANTS = {
    "series": Variant("bzImage", True, ("base.config", "series.config")),
    "unpatched": Variant("bzImage-base", False, ("base.config",)),
    "debug": Variant("bzImage-debug", True, ("base.config", "series.config", "debug.config")),
    "kcsan": Variant("bzImage-kcsan", True, ("base.config", "series.config", "kcsan.config")),
    "rt": Variant("bzImage-rt", True, ("base.config", "series.config", "rt.config")),
    "arm64": Variant("Image-arm64", True, ("base.config", "series.config", "arm64.config"), ARM64),
}


def lock(name: str) -> AbstractContextManager[None]:
    """What leaves its output in one place of the cache is done once at a time."""
    return locks.held(CACHE / f"{name}.lock", f"{name}: waiting for another build to finish")


def text(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise Fault(f"{' '.join(argv[:3])} failed: {done.stderr.strip()}")
    return done.stdout


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def compose() -> str:
    return text(sys.executable, str(SERIES), "compose")


def series(verb: str, *arguments: str) -> int:
    """Run a verb of the composer, its output for the user to read."""
    return subprocess.run([sys.executable, str(SERIES), verb, *arguments], cwd=ROOT).returncode


def commits() -> tuple[str, ...]:
    """Of the series, from 1 on, as check.py is told them."""
    return tuple(str(number) for number, _ in enumerate(sorted((SERIES.parent / "series").glob("*.patch")), 1))


def each_commit(base: Path, *arguments: str) -> int:
    """Build the commits of the series one by one, in a worktree of the developer's, which is left alone; or some."""
    tree = str(BUILD / "linux")
    if not Path(tree).exists() and (status := series("tree", "--base", str(base), "--out", tree)):
        return status
    return subprocess.run([sys.executable, str(SERIES.with_name("check.py")), "--tree", tree, "--out", str(BUILD / "check"), *arguments]).returncode


def link(name: str, target: Path) -> Path:
    """build/NAME is what is current; it changes in one step."""
    BUILD.mkdir(exist_ok=True)
    place = BUILD / name
    fresh = place.with_name(f".{place.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(place)
    return place


def lost_symbols(requested: str, config: str) -> list[str]:
    """Lines of a fragment that a .config does not honour."""
    lines = set(config.splitlines())
    wanted = re.findall(r"^(CONFIG_\w+)=(.+)$", requested, re.M)
    return [f"{symbol}={value}" for symbol, value in wanted
            if (value != "n" and f"{symbol}={value}" not in lines)
            or (value == "n" and re.search(rf"^{symbol}=", config, re.M))]


def requested(fragments: tuple[str, ...]) -> str:
    """The fragments as one, each symbol once."""
    text = "\n".join((CONFIGS / name).read_text() for name in fragments)
    symbols = dict(re.findall(r"^(CONFIG_\w+)=(.+)$", text, re.M))
    return "".join(f"{symbol}={value}\n" for symbol, value in symbols.items())


def configure(make: list[str], tree: Path, objects: Path, fragment: str) -> None:
    objects.mkdir(parents=True, exist_ok=True)
    log = CACHE / "log/configure"
    (objects / "fragment").write_text(fragment)
    progress.run("configuring the kernel", [*make, "-s", "tinyconfig"], log, env=REPRODUCIBLE)
    progress.run("merging the configuration", [str(tree / "scripts/kconfig/merge_config.sh"), "-m", "-O", str(objects),
                 str(objects / ".config"), str(objects / "fragment")], log, cwd=tree)
    progress.run("completing the configuration", [*make, "-s", "olddefconfig"], log, env=REPRODUCIBLE)
    if lost := lost_symbols(fragment, (objects / ".config").read_text()):
        raise Fault(f"kernel/configs asks for what the kernel does not give: {', '.join(lost)}")


def kernel_tree(source: sources.Source) -> Path:
    """The base with the series applied; only files that changed are written."""
    tree = CACHE / "tree" / f"linux-{source.place}"
    copy_of = tree.with_name(f"{tree.name}.of")
    if source.of and tree.exists() and not (copy_of.exists() and copy_of.read_text() == source.name):
        shutil.rmtree(tree)  # it was edited since: objects that are still good are by their time
    if not tree.exists():
        sources.room()
        tree.parent.mkdir(exist_ok=True)
        partial = tree.with_name(f".{tree.name}")
        shutil.rmtree(partial, ignore_errors=True)
        progress.run("copying the kernel tree", ["cp", "-a", "--reflink=auto", str(source.tree), str(partial)],
                     CACHE / "log/copy")
        partial.rename(tree)
        copy_of.write_text(source.name)
    progress.run("applying the series", [sys.executable, str(SERIES), "apply", "--base", str(source.tree), "--out",
                                         str(tree)], CACHE / "log/apply")
    return sources.used(tree)


def made_from(source: sources.Source, variant: str) -> dict[str, str | None]:
    """What decides a kernel's bytes; equal values, equal kernels."""
    chosen = VARIANTS[variant]
    return {"base": source.name, "series_sha256": digest(compose()) if chosen.patched else None,
            "config_sha256": digest(requested(chosen.fragments)), "compiler": text(f"{chosen.arch.prefix}gcc", "--version").splitlines()[0]}


def kernel(named: str = "", variant: str = "series") -> Path:
    """An image of the variant, built unless one of the same things is cached; build/ points to it."""
    chosen = VARIANTS[variant]
    if chosen.arch is ARM64:
        deps.install(deps.ARM64)
        arm64_programs()
    source = sources.kernel(named)
    made = made_from(source, variant)
    product = CACHE / "kernel" / digest(json.dumps(made))[:16]
    image = product / Path(chosen.arch.image).name
    if not image.exists():
        with lock("kernel"):
            if not image.exists():  # nor did the build that we waited for make it
                make_kernel(source, variant, made, product)
    sources.used(product)
    return link(chosen.image, image)


def kernel_of(commit: str, named: str = "") -> Path:
    """The series of another commit on the source that this one has, by the compiler of today: built by that commit's own harness."""
    (CACHE / "scratch").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"commit-{commit[:12]}-", dir=CACHE / "scratch") as scratch:
        place, log = Path(scratch) / "checkout", CACHE / "log/commit"
        text("git", "-C", str(ROOT), "worktree", "add", "--detach", str(place), commit)
        try:
            shutil.copy(ROOT / "kernel/BASE", place / "kernel/BASE")
            progress.run(f"the kernel of {commit[:12]}", [sys.executable, "-m", "harness", "kernel", *([f"--kernel-src={Path(named).resolve()}"] if named else [])],
                         log, cwd=place)
            return Path(log.read_text().splitlines()[-1])
        finally:
            text("git", "-C", str(ROOT), "worktree", "remove", "--force", str(place))


def make_kernel(source: sources.Source, variant: str, made: dict[str, str | None], product: Path) -> None:
    tree = kernel_tree(source) if VARIANTS[variant].patched else source.tree
    objects = CACHE / "obj" / f"{variant}-{source.place}"
    arch = VARIANTS[variant].arch
    make = ["make", "-C", str(tree), f"O={objects}", f"CC=ccache {arch.prefix}gcc", *arch.make]
    configure(make, tree, objects, requested(VARIANTS[variant].fragments))
    sources.used(objects)
    progress.run("building the kernel", [*make, f"-j{os.cpu_count()}", Path(arch.image).name, "modules"], CACHE / "log/kernel",
                 count=r"^  (CC|AS) ", total=OBJECTS, env=REPRODUCIBLE)
    product.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".kernel-", dir=product.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        for origin, name in ((arch.image, Path(arch.image).name), (".config", "config"), ("System.map", "System.map")):
            shutil.copy(objects / origin, fresh / name)
        (fresh / "modules").mkdir()
        for module in (objects / "modules.order").read_text().split():
            shutil.copy((objects / module).with_suffix(".ko"), fresh / "modules")
        (fresh / "made_from.json").write_text(json.dumps(made, indent=1) + "\n")
        shutil.rmtree(product, ignore_errors=True)
        fresh.rename(product)


def compile_quickly(what: str, argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise Fault(f"building {what} failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")


def arm64_programs() -> None:
    """build/arm64: a guest's busybox and tests/*, which need no libraries."""
    with lock("engine"):
        root, place = sources.arm64(), BUILD / "arm64"
        compile_quickly("the tests for arm64", [
            "make", f"-j{os.cpu_count()}", "-C", str(ROOT / "tests/kernel"), f"O={place / 'tests'}", f"CC={ARM64.prefix}gcc",
            f"CFLAGS=-O2 -g -I{root}/usr/include", f"LDFLAGS=-static -L{root}/usr/lib/aarch64-linux-gnu"])
        link("arm64/busybox", root / "bin/busybox")


def fio(tree: Path) -> Path:
    """Its binary, built in the tree unless it is there."""
    if not (tree / "fio").exists():
        progress.run("building fio", ["make", f"-j{os.cpu_count()}", "-C", str(ROOT / "engines"), "fio", f"FIO_SRC={tree}"],
                     CACHE / "log/fio", count=r"^ +CC ", total=180)
    return tree / "fio"


def engine(named: str = "") -> None:
    """build/fio, build/dmabuf.so, what measures, and build/tests/*."""
    with lock("engine"):
        tree = sources.fio(named)
        BUILD.mkdir(exist_ok=True)
        (BUILD / "examples").mkdir(exist_ok=True)
        jobs = f"-j{os.cpu_count()}"
        link("fio", fio(tree))
        warn = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror"]
        # Relative, as make takes a blank for the end of a name.
        quick = {"the engine": ["make", "-C", str(ROOT / "engines"), f"FIO_SRC={tree}", "O=../build"],
                 "the meter": [*warn, "-o", str(BUILD / "meter"), str(ROOT / "harness/guest/meter.c")],
                 "iocost": [*warn, f"-I{ROOT / 'kernel/overlay/include/uapi'}", "-o", str(BUILD / "iocost"),
                            str(ROOT / "harness/guest/iocost.c"), "-luring"],
                 "the example": [*warn, "-o", str(BUILD / "examples/read"), str(ROOT / "examples/read.c"), "-luring"],
                 "the engine's tests": ["make", "-C", str(ROOT / "tests/engine"), f"FIO_SRC={tree}", "O=../../build"],
                 "the GPUs' tests": ["make", "-C", str(ROOT / "tests/gpu"), "O=../../build"],
                 "the profiler": [*warn, "-Wno-unused-parameter", "-shared", "-fPIC", "-o", str(BUILD / "profile.so"),
                                  str(ROOT / "harness/qemu/profile.c")],
                 "the sharing counter": [*warn, "-Wno-unused-parameter", "-shared", "-fPIC", "-o", str(BUILD / "sharing.so"),
                                         str(ROOT / "harness/qemu/sharing.c")],
                 "the tests": ["make", jobs, "-C", str(ROOT / "tests/kernel"), "O=../../build/tests"]}
        for what, argv in quick.items():
            compile_quickly(what, argv)
