# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m harness VERB: every verb is a module's function behind an argument parser."""

import argparse
import ctypes
import dataclasses
import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from . import fault, progress, typed
from .build import cache, deb, deps, products, sources
from .check import abi, debian, doctor, suite
from .judge import claims, regress
from .machine import guest, target
from .machine.modes import IOMMUS, MODES, MORE_MODES, PC, Board
from .machine.topologies import TOPOLOGIES
from .measure import bench, columns, cost, gate, harmless, host, scaling
from .paths import BUILD, HISTORY, ROOT
from .record import history, provenance, runs, schema, store


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, and a status that no guest program has."""
        message = re.sub(r"--([a-z][\w-]*)", lambda found: typed.name(found[1]), message)
        raise fault.Fault(f"{message} (see `{typed.help(self.prog)}`)")


def install(args: argparse.Namespace) -> int:
    deps.install()
    return 0


def fetch(args: argparse.Namespace) -> int:
    deps.install()
    print(sources.kernel(args.kernel_src).tree, sources.fio(args.fio_src), sep="\n")
    return 0


def kernel(args: argparse.Namespace) -> int:
    deps.install()
    print(products.kernel(args.kernel_src, args.variant).resolve())
    return 0


def kernel_tree(args: argparse.Namespace) -> int:
    deps.install()
    return products.series("tree", "--base", str(sources.kernel(args.kernel_src).tree), "--out", args.out)


def kernel_check(args: argparse.Namespace) -> int:
    deps.install()
    base = str(sources.kernel(args.kernel_src).tree)
    return max(products.series(verb, "--base", base) for verb in ("check", "checkpatch"))


def kernel_check_all(args: argparse.Namespace) -> int:
    deps.install(("python3-sphinx", *(deps.ARM64 if args.arch == "arm64" else ())))
    return products.each_commit(sources.kernel(args.kernel_src).tree, "--arch", args.arch, *(["--commits", *args.commits] if args.commits else []))


def kernel_series(args: argparse.Namespace) -> int:
    deps.install()
    return products.series("mails", "--base", str(sources.kernel(args.kernel_src).tree), "--out", str(BUILD / "series"))


def harmless_run(args: argparse.Namespace) -> int:
    deps.install()
    for line in harmless.report(args.kernel_src, args.fio_src, args.modes or tuple(MODES)):
        print(line, flush=True)
    return 0


def scaling_run(args: argparse.Namespace) -> int:
    deps.install()
    for line in scaling.report(args.kernel_src, args.fio_src, args.modes or tuple(MODES)):
        print(line, flush=True)
    return 0


def engine(args: argparse.Namespace) -> int:
    deps.install()
    products.engine(args.fio_src)
    return 0


def package(args: argparse.Namespace) -> int:
    print(deb.make(args.fio_src))
    return 0


def chosen_kernel(args: argparse.Namespace, variant: str = "series") -> Path:
    """The bzImage named by --kernel, or ours, built if need be."""
    deps.install()
    return Path(args.kernel) if args.kernel else products.kernel(args.kernel_src, variant)


def ready_to_record() -> None:
    """What a record names can be told, now and not after an hour."""
    deps.install()
    provenance.checkout()


def guests_own(args: argparse.Namespace, board: Board) -> Path:
    """Its kernel; of programs those that there are, but a guest of ours has all."""
    kernel = chosen_kernel(args, "arm64" if board.programs else "series")
    if not args.kernel and not board.programs and not (BUILD / "fio").exists():
        products.engine()
    return kernel


def guest_run(args: argparse.Namespace) -> int:
    iommu = IOMMUS[args.iommu]
    spec = guest.Spec(kernel=Path(), mode=(MODES | MORE_MODES)[args.mode], command=args.cmd,
                      files=guest.user_files(args.files), disk=args.disk, disk_write=args.disk_write,
                      icount=args.icount, memory=args.mem, cpus=args.smp, timeout=args.timeout, append=args.append,
                      qemu_extra=f"{TOPOLOGIES[args.topology].args if args.topology else ''} {args.qemu_extra}", iommu=iommu)
    guest.check(spec)
    spec = dataclasses.replace(spec, kernel=guests_own(args, iommu.board))
    with tempfile.TemporaryDirectory(prefix="dmabuf-run-") as scratch:
        return guest.boot(spec, sys.stdout.buffer, Path(args.keep or scratch)).status


def shell(args: argparse.Namespace) -> int:
    """A guest to type into."""
    iommu = IOMMUS[args.iommu]
    spec = guest.Spec(kernel=Path(), mode=(MODES | MORE_MODES)[args.mode], command=guest.SHELL, files=guest.user_files(args.files),
                      disk=args.disk, memory=args.mem, cpus=args.smp, timeout=args.timeout, append=args.append, iommu=iommu, typing=True)
    guest.check(spec)
    kernel = guests_own(args, iommu.board)
    with tempfile.TemporaryDirectory(prefix="dmabuf-shell-") as scratch:
        return guest.boot(dataclasses.replace(spec, kernel=kernel), sys.stdout.buffer, Path(scratch)).status


def what_there_is(_: argparse.Namespace) -> int:
    """Every name that a variable can have, with what it stands for."""
    for title, names in (
            ("JOBS= of bench", {job.name: f"{job.block_bytes >> 10} KiB blocks" for job in bench.JOBS.values()}),
            ("JOBS= of bench, measured as a sweep", {job.name: job.environment for job in bench.SWEEPS.values()}),
            ("REGISTRATIONS=", {"none": "READ and WRITE on addresses", "user": "fixed buffers of user memory",
                               "dmabuf": "fixed buffers that are dma-bufs"}),
            ("MODES=, MODE=", {mode.name: " ".join(mode.args) for mode in MODES.values()}),
            ("MODE= of guest-run, shell and fuzz alone", {mode.name: " ".join(mode.args) for mode in MORE_MODES.values()}),
            ("IOMMU=", {iommu.name: iommu.text for iommu in IOMMUS.values()}),
            ("TOPOLOGY= of guest-run", {topology.name: topology.text for topology in TOPOLOGIES.values()}),
            ("COLUMNS=", {column.name: column.text for column in columns.COLUMNS.values()}),
            ("CASES= of cost", {case.name: case.arguments for case in cost.CASES.values()}),
            ("SUITE= of test-debian", {suite: f"whose fio is {version}" for version, suite in sources.FIO_SUITES.items()}),
            ("BOOTS= of test-debug", {boot.name: f"kernel {boot.variant}" for boot in suite.DEBUG_BOOTS.values()}),
            ("VARIANT= of kernel", {name: f"build/{variant.image}, of {' '.join(variant.fragments)}" for name, variant in products.VARIANTS.items()}),
            ("BASE= of regress", {each["commit"][:12]: each["subject"] for each in history.shown()})):
        print(f"{title}\n" + "".join(f"  {name:<30}{text}\n" for name, text in names.items()))
    return 0


def clean_cache(args: argparse.Namespace) -> int:
    cache.clean(args.days, args.all)
    return 0


def fuzz(args: argparse.Namespace) -> int:
    """Under TCG a checking kernel is slow: time to boot, to end and to print is added."""
    kernel = chosen_kernel(args, "debug")
    products.engine(args.fio_src)
    limit = args.seconds + 300
    command = f"SECONDS={args.seconds} SEED={args.seed} TIMEOUT={limit} /tests/run.sh $DEV fuzz"
    spec = guest.Spec(kernel=kernel, mode=(MODES | MORE_MODES)[args.mode], command=command, memory="4G",
                      timeout=limit + 900)
    with tempfile.TemporaryDirectory(prefix="dmabuf-fuzz-") as scratch:
        return guest.boot(spec, sys.stdout.buffer, Path(scratch)).status


# What shows and what compares imports numpy, scipy and matplotlib, which deps may only just have installed: not before then.
def measured(plan: bench.Plan, bzimage: Path) -> tuple[bool, dict[str, Any]]:
    """Measure, record, print and draw; do the claims hold?"""
    from .show import directory

    run, result = bench.measure(plan, bzimage)
    print(f"\n{directory.of_bench(result, run)}\nrecords, figures and report.html: {run}")
    return all(claim.holds for claim in claims.claims(result)), result


def bench_plan(args: argparse.Namespace) -> bench.Plan:
    """Jobs of one kind: those of a sweep have no cost, and no meter."""
    sweeps = [name for name in args.jobs if name in bench.SWEEPS]
    kind = args.bench or ("sweep" if sweeps else "")
    if args.jobs and (kind == "sweep") != (sweeps == list(args.jobs)) or (sweeps and kind != "sweep"):
        fit = bench.SWEEPS if kind == "sweep" else bench.JOBS
        raise fault.Fault(f"{typed.said('jobs', ' '.join(args.jobs))}: curves ({' '.join(bench.SWEEPS)}) are measured by themselves, "
                          f"with {typed.said('bench', 'sweep')}; name jobs of {' '.join(fit)}")
    plan = {"short": bench.SHORT, "sweep": bench.SWEEP}.get(kind, bench.Plan())
    chosen = {name: getattr(args, name) for name in ("jobs", "registrations", "modes") if getattr(args, name)}
    return dataclasses.replace(plan, **chosen)


def bench_run(args: argparse.Namespace) -> int:
    plan = bench_plan(args)
    if args.target == "host":
        return bench_host(args, plan)
    if args.dev or args.destructive:
        raise fault.Fault("DEV= and DESTRUCTIVE= are for TARGET=host: a guest has its own disks")
    chosen = [columns.COLUMNS[name] for name in args.columns or (columns.DEFAULT.name,)]
    if args.base and not any(column.unpatched for column in chosen):
        raise fault.Fault(f"{typed.said('base', args.base)} is for the unpatched column: name it in {typed.name('columns')}, too")
    base = unpatched(args.base)
    if not base and any(column.unpatched for column in chosen):
        raise fault.Fault("the unpatched column needs an unpatched kernel: "
                          "`make kernel VARIANT=unpatched`, or name one with BASE=")
    plans = [bench.on(column, plan) for column in chosen]
    for column in chosen:
        for mode, why in columns.unavailable(column, plan.modes).items():
            print(f"bench: {column.name}: {mode} is unavailable: {why}")
    for each in plans:
        if left_out := [job for job in plan.jobs if job not in each.jobs]:
            print(f"bench: {each.column.name}: without {' '.join(left_out)}: a block has at most {each.column.most >> 10} KiB there")
    ready_to_record()
    bzimage = chosen_kernel(args)
    products.engine(args.fio_src)
    return 0 if compare_columns(plans, bzimage, base) else 1


def bench_host(args: argparse.Namespace, plan: bench.Plan) -> int:
    """Installs and builds nothing; draws only if what that needs is there."""
    if args.columns or args.kernel or args.base or plan.jobs[0] in bench.SWEEPS:
        raise fault.Fault("TARGET=host measures the running kernel on this machine: leave out COLUMNS=, KERNEL=, BASE= and BENCH=sweep")
    target.find(args.dev)  # before anything is said of its jobs
    if not args.jobs and args.bench != "short":
        plan = dataclasses.replace(plan, jobs=host.possible(bench.JOBS, args.destructive))
    elif not args.jobs:
        plan = dataclasses.replace(plan, jobs=host.possible(plan.jobs, args.destructive))
    if args.bench != "short":
        plan = dataclasses.replace(plan, runtime_ms=5000)
    run, result = host.measure(plan, args.dev, args.destructive)
    try:
        from .show import directory

        print(f"\n{directory.of_bench(result, run)}")
    except ImportError as error:
        print(f"host: nothing drawn, as {error.name} is not installed: `make plot RUN={run}` where it is")
    print(f"records: {run}")
    return 0 if all(claim.holds for claim in claims.claims(result)) else 1


def compare_columns(plans: list[bench.Plan], bzimage: Path, base: Path | None) -> bool:
    """A run for each column, then all of them side by side."""
    good, records = True, []
    for plan in plans:
        holds, result = measured(plan, base if plan.column.unpatched and base else bzimage)
        good, records = good and holds, [*records, result]
    if len(records) > 1:
        from .show import table

        print("\n" + table.side_by_side(records, tuple(dict.fromkeys(mode for plan in plans for mode in plan.modes))))
    return good


def unpatched(named: str) -> Path | None:
    """The unpatched kernel named, or ours if it has been built."""
    base = image(named, "base") if named else BUILD / products.VARIANTS["unpatched"].image
    return base if base.exists() else None


def with_functions(args: argparse.Namespace) -> None:
    """What counts by function needs to know where they are."""
    if args.kernel and not (Path(args.kernel).resolve().parent / "System.map").exists():
        raise fault.Fault(f"{typed.said('kernel', args.kernel)} has no System.map beside it: neither idle time nor functions can be told")


def cost_run(args: argparse.Namespace) -> int:
    with_functions(args)
    base = unpatched(args.base)
    ready_to_record()
    bzimage = chosen_kernel(args)
    products.engine(args.fio_src)
    from .show import directory

    run, result = cost.measure(args.modes or tuple(MODES), args.cases or tuple(cost.CASES), bzimage, base)
    print(f"\n{directory.of_cost(result, run)}\nrecord, figures and report.html: {run.relative_to(ROOT)}")
    return 0


def tested(run: Callable[[], suite.Tally], more: tuple[str, ...] = ()) -> int:
    deps.install(more)
    with runs.alone("test"):
        tally = run()
    print(tally)
    return 1 if tally.failed else 0


def test(args: argparse.Namespace) -> int:
    ready_to_record()
    from .show import directory

    return tested(lambda: suite.quick(args.kernel_src, args.fio_src, directory.of_gate, lambda bzimage: measured(bench.SHORT, bzimage)[0]))


def test_engine(args: argparse.Namespace) -> int:
    return tested(lambda: suite.engine(args.kernel_src, args.fio_src), deps.STACKS)


def check_abi(args: argparse.Namespace) -> int:
    deps.install()
    return abi.check()


def test_debian(args: argparse.Namespace) -> int:
    return 1 if debian.test(args.suite, chosen_kernel(args), args.steps or ()) else 0


def test_p2p(args: argparse.Namespace) -> int:
    return tested(lambda: suite.run_p2p(args.kernel_src, args.fio_src))


def test_debug(args: argparse.Namespace) -> int:
    return tested(lambda: suite.debug(args.kernel_src, args.fio_src, args.boots or tuple(suite.DEBUG_BOOTS)))


def redraw(args: argparse.Namespace) -> int:
    path = store.find(args.run, schema.OF_BENCH, schema.OF_COST)
    result = store.load(path, schema.OF_BENCH, schema.OF_COST)
    deps.install()
    from .show import directory

    show = directory.of_bench if "speed" in result else directory.of_cost
    show(result, path.parent)
    return 0


def regress_run(args: argparse.Namespace) -> int:
    """What ends without a verdict says why where the verdict would be."""
    from .show import regress as verdict

    verdict.forget()
    try:
        return judged(args)
    except fault.Fault as why:
        verdict.no_verdict(str(why))
        raise


def judged(args: argparse.Namespace) -> int:
    """What it is compared with is known, and comparable, before anything is built."""
    with_functions(args)
    gate.commit()
    base = history.find(args.base)
    ready_to_record()
    made = (provenance.made_of_kernel(Path(args.kernel))["made_from"] if args.kernel else
            products.made_from(sources.kernel(args.kernel_src), "series"))
    why = regress.unlike(base, made)
    if why and made and args.kernel:
        raise fault.Fault(f"{why}; without KERNEL= that commit would be measured again")
    if why and not made:
        raise fault.Fault(why)
    bzimage = chosen_kernel(args)
    products.engine(args.fio_src)
    if why:
        base = measured_again(base, why, made, args)
    from .show import directory

    with runs.alone("regress"):
        new, found = regress.against(base, args.modes or tuple(MODES), bzimage)
        print(f"\n{directory.of_gate(base, new, found)}report: {gate.PLACE.relative_to(ROOT)}")
    return 1 if found else 0


def measured_again(base: dict[str, Any], why: str, made: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The recorded commit, by the compiler and on the source of today."""
    if not provenance.has_commit(base["commit"]):
        raise fault.Fault(f"{why}; and that commit is not in this repository, to be measured again")
    progress.say(f"regress: {why}: measuring that commit again")
    with runs.alone("regress"):
        again = gate.take(args.modes or tuple(MODES), products.kernel_of(base["commit"], args.kernel_src), base["commit"])
    if still := regress.unlike(again, made):
        raise fault.Fault(still)
    return again


def baseline(args: argparse.Namespace) -> int:
    with_functions(args)
    gate.recordable(Path(args.kernel) if args.kernel else None)
    ready_to_record()
    bzimage = chosen_kernel(args)
    products.engine(args.fio_src)
    with runs.alone("regress"):
        new = gate.take(MODES, bzimage) | {"reason": args.reason}
    HISTORY.mkdir(parents=True, exist_ok=True)
    path = HISTORY / f"{new['commit'][:12]}.json"
    store.write(path, new)
    print(f"commit {path}")
    return 0


def compare_records(args: argparse.Namespace) -> int:
    from .judge import compare

    text, worst = compare.text(*(store.load(store.find(name)) for name in (args.a, args.b)))
    print(text, end="")
    return 0 if worst <= compare.REPEATS else 1


def projection(args: argparse.Namespace) -> int:
    from .show import projection

    result = store.load(store.find(args.run, schema.OF_COST), schema.OF_COST)
    print(projection.text(result, projection.Price(args.ghz, args.cpi, args.invalidation)), end="")
    return 0


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="harness", description=__doc__)
    verbs = top.add_subparsers(metavar="VERB", required=True)

    kernel_source = Parser(add_help=False)
    kernel_source.add_argument("--kernel-src", default="", metavar="PATH",
                               help="a pristine kernel tree or tarball, instead of the one in kernel/BASE")
    fio_source = Parser(add_help=False)
    fio_source.add_argument("--fio-src", default="", metavar="DIR", help="a fio source tree to build in")
    which = Parser(add_help=False)
    which.add_argument("--kernel", default="", metavar="BZIMAGE", help="another kernel than ours")

    def verb(name: str, function: Callable[[argparse.Namespace], int], parents: Iterable[Parser] = (),
             **text: Any) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, parents=list(parents), **text)
        added.set_defaults(verb=function)
        return added

    verb("doctor", lambda _: doctor.report(), help="what this machine lacks, how long things take; status 1 if something is missing")
    verb("list", what_there_is, help="jobs, cases, modes, columns and what else has a name")
    cleaner = verb("clean-cache", clean_cache, help="remove from the cache what has not been used for long")
    cleaner.add_argument("--days", type=typed.number("days", 0), default=30, help="for how long (default %(default)s)")
    cleaner.add_argument("--all", action="store_true", help="remove everything")
    verb("deps", install, help="install the Debian packages that are missing (needs root)")
    verb("sources", fetch, (kernel_source, fio_source), help="get and unpack the kernel and fio")
    verb("kernel", kernel, (kernel_source,), help="build a kernel").add_argument(
        "--variant", type=typed.one_of("variant", products.VARIANTS), default="series", metavar="NAME",
        help=f"default %(default)s; {', '.join(f'{name}: build/{each.image}' for name, each in products.VARIANTS.items())}")
    verb("kernel-tree", kernel_tree, (kernel_source,), help="a git worktree of the series to develop in").add_argument(
        "out", nargs="?", default=str(BUILD / "linux"), help="where (default: build/linux)")
    every = verb("kernel-check-all", kernel_check_all, (kernel_source,), help="every commit, feature on and off")
    every.add_argument("--arch", default="x86_64", choices=("x86_64", "arm64"), help="default: %(default)s")
    every.add_argument("--commits", type=typed.some_of("commits", products.commits()), default="", metavar="'N ...'",
                       help=f"only these of the {len(products.commits())}")
    verb("kernel-series", kernel_series, (kernel_source,), help="the mails as they are sent, with a cover letter")
    verb("kernel-check", kernel_check, (kernel_source,), help="round trip of the series, checkpatch over it")
    verb("harmless", harmless_run, (kernel_source, fio_source),
         help="what the series does to those who do not use it").add_argument(
        "--modes", type=typed.some_of("modes", MODES), default="", metavar="'MODE ...'", help=f"of {' '.join(MODES)}")
    verb("scaling", scaling_run, (kernel_source, fio_source),
         help="what several processors cost per I/O, and the cache lines that they share").add_argument(
        "--modes", type=typed.some_of("modes", MODES), default="", metavar="'MODE ...'", help=f"of {' '.join(MODES)}")
    verb("engine", engine, (fio_source,), help="build fio, the engine and the guest's programs")

    verb("deb", package, (fio_source,), help="build the Debian package, for the fio that this Debian has")

    machine = Parser(add_help=False)
    machine.add_argument("--mode", type=typed.one_of("mode", MODES | MORE_MODES), default="strict", metavar="MODE",
                     help=f"of {' '.join(MODES | MORE_MODES)} (default %(default)s)")
    machine.add_argument("--iommu", type=typed.one_of("iommu", IOMMUS), default="vtd", metavar="IOMMU",
                     help=f"what QEMU emulates, of {' '.join(IOMMUS)} (default %(default)s); smmu: a guest of arm64")
    machine.add_argument("--files", default="", metavar="'HOST[=GUEST] ...'",
                     help="files and directories to copy in, to /root unless GUEST says where; libraries follow")
    machine.add_argument("--disk", default="1G",
                     help="what DEV is: null, a size (scratch) or an image (default %(default)s)")
    machine.add_argument("--mem", default="2G", help="memory, in MiB or with a unit (default %(default)s)")
    machine.add_argument("--smp", type=typed.number("smp", 1), default=2, help="processors (default %(default)s)")
    machine.add_argument("--append", default="", help="more kernel arguments")

    run = verb("guest-run", guest_run, (which, kernel_source, machine), help="run one command in a guest",
               epilog=guest.HELP + fault.STATUS_HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    run.add_argument("cmd", metavar="CMD", help="shell command; sees MODE, DEV, DEV2, NULLDEV (disks) and RESULTS (kept files)")
    run.add_argument("--disk-write", action="store_true", help="let the guest change the image named by --disk")
    run.add_argument("--icount", action="store_true", help="instruction clock: 2 ns an instruction, one processor")
    run.add_argument("--timeout", type=typed.number("timeout", 1, whole=False), default=300, help="seconds (default %(default)s)")
    run.add_argument("--qemu-extra", default="", help="more QEMU arguments")
    run.add_argument("--topology", type=typed.one_of("topology", TOPOLOGIES), default=None, metavar="NAME",
                     help=f"where a disk, serial number near, and devices with memory are: {' '.join(TOPOLOGIES)} (harness/machine/topologies.py)")
    run.add_argument("--keep", default="", metavar="DIR", help="keep the console log and $RESULTS there")

    verb("shell", shell, (which, kernel_source, machine), help="a guest to type into").add_argument(
        "--timeout", type=typed.number("timeout", 1, whole=False), default=86400, help="seconds (default: a day)")

    measure = verb("bench", bench_run, (which, kernel_source, fio_source), help="compare registrations in every mode")
    measure.add_argument("--bench", type=typed.one_of("bench", ("short", "sweep")), default=None, metavar="short|sweep",
                         help="short: two jobs, one round, a check more than a measurement; sweep: IOPS against block size and queue depth")
    measure.add_argument("--short", action="store_const", const="short", dest="bench", help="--bench short")
    measure.add_argument("--sweep", action="store_const", const="sweep", dest="bench", help="--bench sweep")
    measure.add_argument("--jobs", type=typed.some_of("jobs", bench.JOBS | bench.SWEEPS), default="", metavar="'JOB ...'",
                         help="of jobs/ (default: all that are timed)")
    measure.add_argument("--registrations", type=typed.some_of("registrations", schema.REGISTRATIONS), default="", metavar="'NAME ...'",
                         help=f"of {' '.join(schema.REGISTRATIONS)}")
    measure.add_argument("--modes", type=typed.some_of("modes", MODES), default="", metavar="'MODE ...'", help=f"of {' '.join(MODES)}")

    measure.add_argument("--target", type=typed.one_of("target", ("guest", "host")), default="guest", metavar="guest|host",
                         help="host: the running kernel and the disk named by --dev (default %(default)s)")
    measure.add_argument("--dev", default="", metavar="/dev/nvmeXnY", help="the disk of --target host")
    measure.add_argument("--destructive", action="store_true", help="jobs that write may destroy what is on it")
    measure.add_argument("--columns", type=typed.some_of("columns", columns.COLUMNS), default="", metavar="'COLUMN ...'",
                         help=f"machines, a run each, of {' '.join(columns.COLUMNS)} (default: {columns.DEFAULT.name})")
    measure.add_argument("--base", default="", metavar="BZIMAGE",
                         help="the kernel of the unpatched column (default: build/bzImage-base)")

    costs = verb("cost", cost_run, (which, kernel_source, fio_source), help="count the instructions of an I/O, by function")
    costs.add_argument("--modes", type=typed.some_of("modes", MODES), default="", metavar="'MODE ...'", help=f"of {' '.join(MODES)}")
    costs.add_argument("--cases", type=typed.some_of("cases", cost.CASES), default="", metavar="'CASE ...'",
                       help="of those in harness/measure/cost.py (default: all)")
    costs.add_argument("--base", default="", metavar="BZIMAGE",
                       help="an unpatched kernel to compare with (default: build/bzImage-base, if it is there)")

    gate = verb("regress", regress_run, (which, kernel_source, fio_source), help="compare this build with a recorded one")
    gate.add_argument("--base", default="", metavar="COMMIT|RECORD", help="of results/history (default: that of the nearest ancestor)")
    gate.add_argument("--modes", type=typed.some_of("modes", MODES), default="", metavar="'MODE ...'", help=f"of {' '.join(MODES)}")
    verb("baseline", baseline, (which, kernel_source, fio_source), help="record this commit in results/history").add_argument(
        "--reason", type=typed.sentence("reason"), required=True, metavar="'WORDS'", help="why an I/O may cost from now on what it costs now")

    pair = verb("compare", compare_records, help="two records, cell by cell; status 1 if instructions differ by more than 0.2 %%")
    for name in ("a", "b"):
        pair.add_argument(name, metavar=name.upper(), help="a file of results/history, or the directory of a finished run")

    guess = verb("project", projection, help="what a cost run would be on hardware, under assumptions")
    guess.add_argument("run", metavar="RUN", help="directory of a finished `make cost`")
    guess.add_argument("--ghz", type=float, default=3.0)
    guess.add_argument("--cpi", type=float, default=0.5, help="cycles per instruction, an assumption (default %(default)s)")
    guess.add_argument("--invalidation", type=float, metavar="CYCLES",
                       help="of an IOTLB invalidation that is waited for (default: what the published figures leave for it)")

    fuzzer = verb("fuzz", fuzz, (which, kernel_source, fio_source), help="random operations in a guest, on the debug kernel")
    fuzzer.add_argument("--seconds", type=typed.number("seconds", 1), default=600, help="for how long (default %(default)s)")
    fuzzer.add_argument("--seed", type=typed.number("seed", 0), default=int(time.time()) % 100000,
                        help="odd ones reset the controller, even ones poll (default: another each time)")
    fuzzer.add_argument("--mode", type=typed.one_of("mode", MODES | MORE_MODES), default="strict", metavar="MODE",
                        help=f"of {' '.join(MODES | MORE_MODES)} (default %(default)s)")

    verb("test", test, (kernel_source, fio_source), help="host tests, series checks, guest tests, cost gate, short bench")
    verb("test-engine", test_engine, (kernel_source, fio_source), help="the engine's tests, on the host and in guests")
    verb("check-abi", check_abi, help="run the engine built for each fio in each fio")
    other = verb("test-debian", test_debian, (which, kernel_source), help="what is typed on another release of Debian, in a root of its own")
    other.add_argument("suite", type=typed.one_of("suite", debian.SUITES), metavar="SUITE", help=f"of {' '.join(debian.SUITES)}")
    other.add_argument("--steps", type=debian.steps_named, default="", metavar="'WORD ...'", help="only those with such a word in their title")
    verb("test-p2p", test_p2p, (kernel_source, fio_source), help="by which way a disk gets at the memory of another device, in each topology")
    verb("test-debug", test_debug, (kernel_source, fio_source),
         help="guest tests on kernels that check themselves").add_argument(
        "--boots", type=typed.some_of("boots", suite.DEBUG_BOOTS), default="", metavar="'BOOT ...'", help=f"of {' '.join(suite.DEBUG_BOOTS)}")
    verb("plot", redraw, help="write a run's tables, figures and report again").add_argument("run", metavar="RUN")
    return top


def image(name: str, option: str, board: Board = PC) -> Path:
    """A kernel that was named."""
    path, said = Path(name), typed.said(option, name)
    kind = "an Image of arm64" if board.programs else "a bzImage"
    if not path.is_file():
        raise fault.Fault(f"there is no kernel {said}: name {kind}, or leave it out for ours")
    if not guest.is_kernel(path, board):
        raise fault.Fault(f"{said} is no kernel that this guest can boot: name {kind}, or leave it out for ours")
    return path


def named(args: argparse.Namespace) -> None:
    """What is named is there, before anything is built."""
    if getattr(args, "kernel", ""):
        image(args.kernel, "kernel", IOMMUS[getattr(args, "iommu", "vtd")].board)
    if getattr(args, "kernel_src", ""):
        sources.look(Path(args.kernel_src))
    if getattr(args, "fio_src", ""):
        sources.fio(args.fio_src)


def follow() -> None:
    """We end with make, and QEMU with us."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def stop(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def catch() -> None:
    """Whatever ends us, what we began is undone; but under nohup a terminal may go."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, stop)


def main() -> int:
    catch()
    try:
        words = typed.options(sys.argv[1:])
        if typed.at_make:
            follow()
        args = parser().parse_args(words)
        named(args)
        start = time.monotonic()
        status: int = args.verb(args)
        if status == 0:
            cache.took(words[0] + (f" {args.bench}" if getattr(args, "bench", None) else ""), time.monotonic() - start)
        return status
    except fault.Fault as error:
        print(f"harness: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # for the interpreter to close
        return 141
    except ModuleNotFoundError as error:
        print(f"harness: python3-{error.name} is missing here: `make deps` installs it", file=sys.stderr)
        return fault.Fault.status
    except FileNotFoundError as error:
        missing = f"there is no {error.filename} here: `make doctor` says what this machine lacks"
        print(f"harness: {missing if '/' not in str(error.filename) else error}", file=sys.stderr)
        return fault.Fault.status
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        print(f"harness: {error}" + (f": make room in {tempfile.gettempdir()}, or name another place with TMPDIR=, "
                                     "and in the cache and results/" if full else ""), file=sys.stderr)
        return fault.Fault.status


if __name__ == "__main__":
    sys.exit(main())
