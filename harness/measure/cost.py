# SPDX-License-Identifier: GPL-2.0-or-later
"""What one I/O costs, exactly: every instruction the guest executes, by function, mode by mode."""

import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from .. import progress
from ..build import products, sources
from ..fault import Fault
from ..machine import guest
from ..machine.modes import MODES
from ..paths import BUILD, ROOT
from ..record import mechanisms, runs, store
from . import attribution

HUGE_PAGES = 4200  # of 2 MiB
NS_AN_INSTRUCTION = 2  # -icount shift=1
EDGE = 2  # commands that may lie across the edges of a window
EXACT = 0.001  # how far the profile's sum may be from the instruction clock
BUFFER = "8g"  # of the cases that ask whether a place in a large buffer costs more


@dataclass(frozen=True)
class Case:
    """One stretch of I/O (harness/guest/iocost.c), for each of some registrations."""

    name: str
    arguments: str
    count: int
    registrations: tuple[str, ...] = ("user", "dmabuf")
    rounds: int = 1
    dmabuf_count: int = 0  # 0: as many; its I/Os are cheap whatever their size, and few would show each timer tick

    def ios(self, registration: str) -> int:
        return self.dmabuf_count if registration == "dmabuf" and self.dmabuf_count else self.count


DEPTHS = (1, 4, 16, 32)  # below the 128 of all others
REGISTERED = ("1m", "4m", "16m", "256m")  # beside the 64m of all others
CASES = {case.name: case for case in (
    Case("read-4k", "--bs 4k", 20000, ("none", "user", "dmabuf"), 2),
    Case("write-4k", "--bs 4k --write", 20000, rounds=2),
    # Commands to /dev/ngXnY, which are neither split nor merged.
    Case("passthru-read-4k", "--bs 4k --through passthru", 20000, rounds=2),
    Case("read-64k", "--bs 64k", 10000),
    Case("read-1m", "--bs 1m", 3000, dmabuf_count=10000),
    Case("write-1m", "--bs 1m --write", 3000, dmabuf_count=10000),
    Case("read-64k-scattered", "--bs 64k --scattered", 10000),
    Case("read-1m-scattered", "--bs 1m --scattered", 3000, dmabuf_count=10000),
    Case("read-4k-huge", "--bs 4k --huge", 20000, ("dmabuf",)),
    Case("read-1m-huge", "--bs 1m --huge", 3000, dmabuf_count=10000),
    Case("read-4k-first", f"--bs 4k --huge --size {BUFFER} --place first", 20000, ("dmabuf",)),
    Case("read-4k-last", f"--bs 4k --huge --size {BUFFER} --place last", 20000, ("dmabuf",)),
    # Curves: of the block size, of the queue depth, of what is registered.
    Case("read-16k", "--bs 16k", 10000),
    Case("read-256k", "--bs 256k", 5000, dmabuf_count=10000),
    *(Case(f"read-4k-qd{depth}", f"--bs 4k --depth {depth}", 5000) for depth in DEPTHS),
    *(Case(f"register-{size}", f"--bs 4k --size {size}", 1000) for size in REGISTERED),
)}
BASE_CASE = Case("read-4k", "--bs 4k", 20000, ("user",), 2)  # what an unpatched kernel can do

Row = dict[str, Any]


def cells(cases: tuple[str, ...]) -> Iterator[tuple[Case, str, int]]:
    """Rounds outermost, so that the two of a cell are apart."""
    for number in range(2):
        for name in cases:
            for registration in CASES[name].registrations:
                if number < CASES[name].rounds:
                    yield CASES[name], registration, number + 1


def boot(kernel: Path, mode: str, todo: list[tuple[Case, str, int]], keep: Path) -> list[Row]:
    """One row for each of `todo`: what iocost said, and instructions per I/O by function."""
    huge = any("--huge" in case.arguments for case, _, _ in todo)
    lines = [f"echo {HUGE_PAGES} > /proc/sys/vm/nr_hugepages"] if huge else []
    lines += [f"/bin/iocost --registration {registration} --count {case.ios(registration)} {case.arguments} $NULLDEV $DEV || exit 1"
              for case, registration, _ in todo]
    symbols = attribution.system_map(kernel)
    with tempfile.TemporaryDirectory(prefix="dmabuf-profile-") as scratch:
        prefix = Path(scratch) / "window"
        spec = guest.Spec(kernel=kernel, mode=MODES[mode], command="\n".join(lines), icount=True,
                          memory="13G" if huge else "2G",
                          # Never halted, the clock shows every instruction and nothing else.
                          append="idle=poll udmabuf.size_limit_mb=16384", timeout=300 + 120 * len(todo),
                          qemu_extra=f"-plugin file={BUILD / 'profile.so'},out={prefix}{attribution.plugin_arguments(symbols)}")
        keep.mkdir(parents=True, exist_ok=True)
        with (keep / "out.txt").open("wb") as out:
            status = guest.boot(spec, out, keep).status
        said = (keep / "out.txt").read_text(errors="replace")
        if status:
            raise Fault(f"cost: {mode}: {guest.tail(said, 3)}\n(all of it in {keep})")
        results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        if len(results) != len(todo):
            raise Fault(f"cost: {mode}: {len(todo)} cells, but {len(results)} results in {keep}")
        return [row(mode, case, registration, number, result,
                    attribution.window(Path(f"{prefix}.{index}").read_text(), symbols))
                for index, ((case, registration, number), result) in enumerate(zip(todo, results))]


def row(mode: str, case: Case, registration: str, number: int, result: Row, window: attribution.Window) -> Row:
    """The profile of a cell, if it is whole: it must agree with the guest's clock and with the disk's count of requests."""
    ios, executed, clock = result["ios"], sum(window.functions.values()), result["window_ns"] / NS_AN_INSTRUCTION
    where = f"cost: {mode} {case.name} {registration}"
    if abs(executed / clock - 1) > EXACT:
        raise Fault(f"{where}: the profile adds up to {executed:,} instructions, the guest's clock to {clock:,.0f}")
    counts = mechanisms.count(window, ios, result["eagain"])
    commands = result["commands"] / ios
    # Readahead may begin a command before the window that ends in it, or the other way round.
    if counts["command"] is not None and abs(counts["command"] - commands) * ios > max(EXACT * result["commands"], EDGE):
        raise Fault(f"{where}: {counts['command']:.4f} NVMe commands per I/O were set up, {commands:.4f} completed")
    busy = {name: count for name, count in window.functions.items() if name != attribution.IDLE}
    return {"mode": mode, "case": case.name, "registration": registration, "round": number, **result,
            "commands_per_io": commands, "bytes_per_command": block_bytes(case) / commands,
            "instructions_per_io": sum(busy.values()) / ios,
            "idle_per_io": (executed - sum(busy.values())) / ios, "executed_over_clock": executed / clock,
            "contexts": {name: count / ios for name, count in window.contexts().items()},
            "mechanisms": counts, "functions": attribution.per_io(busy, ios)}


def option(case: Case, name: str, default: str) -> str:
    words = case.arguments.split()
    return words[words.index(name) + 1] if name in words else default


def size_bytes(text: str) -> int:
    return int(text[:-1]) << {"k": 10, "m": 20, "g": 30}[text[-1]]


def block_bytes(case: Case) -> int:
    return size_bytes(option(case, "--bs", "4k"))


def measure(modes: tuple[str, ...], cases: tuple[str, ...], kernel: Path, base: Path | None) -> Path:
    made_of = {"kernel": store.made_of_kernel(kernel), "base": store.made_of_kernel(base) if base else None,
               "iocost_sha256": sources.sha256(BUILD / "iocost"), "profile_sha256": sources.sha256(BUILD / "profile.so")}
    stem = f"cost-{products.digest(json.dumps([made_of, modes, cases]))[:8]}"
    rows: list[Row] = []
    base_rows: list[Row] = []
    todo = list(cells(cases))
    with runs.unfinished(stem) as place:
        for mode in modes:
            start = time.monotonic()
            progress.say(f"cost: {mode}, {len(todo)} cells ...")
            rows += boot(kernel, mode, todo, place / "boots" / mode)
            if base:
                base_rows += boot(base, mode, [(BASE_CASE, "user", number) for number in (1, 2)], place / "boots" / f"{mode}-base")
            progress.say(f"cost: {mode}: done in {progress.clock(time.monotonic() - start)}")
        return runs.finish(place, stem, store.OF_COST, {
            "schema": store.OF_COST.schema, "id": "", "made_of": made_of, "circumstances": store.circumstances(), "modes": modes,
            "cases": {name: dataclasses.asdict(CASES[name]) for name in cases}, "rows": rows, "base_rows": base_rows})


def average(rows: list[Row], value: str, **where: str) -> float | None:
    """Of the rounds of one cell; None if it was not measured."""
    found = [each[value] for each in rows if all(each[key] == wanted for key, wanted in where.items())]
    return mean(found) if found else None


@dataclass(frozen=True)
class Goal:
    text: str
    low: float
    high: float
    value: float | None  # None: not measured

    def __str__(self) -> str:
        bound = f"{self.low:g}..{self.high:g}" if self.low else f"<= {self.high:g}"
        if self.value is None:
            return f"  {self.text:<62} {'-':>7}  {bound:<12} not measured"
        met = "met" if self.low <= self.value <= self.high else "NOT MET"
        return f"  {self.text:<62} {self.value:7.3f}  {bound:<12} {met}"


def goals(result: Row) -> list[Goal]:
    def cost(mode: str, case: str, registration: str, value: str = "instructions_per_io") -> float | None:
        return average(result["rows"], value, mode=mode, case=case, registration=registration)

    def ratio(over: float | None, under: float | None) -> float | None:
        return None if over is None or under is None else over / under

    def worst(values: list[float | None]) -> float | None:
        return None if None in values or not values else max(value for value in values if value is not None)

    def fixed(rows: list[Row], mode: str) -> float | None:
        """An ordinary fixed read, at its least: after the cases that write atime_needs_update() has 7 instructions more."""
        return min((row["instructions_per_io"] for row in rows if row["mode"] == mode and row["case"] == "read-4k"
                    and row["registration"] == "user"), default=None)

    modes = result["modes"]
    found = [Goal(f"4 KiB {verb}, dma-buf: STRICT / PASSTHROUGH", 0.995, 1.005,
                  ratio(cost("strict", f"{verb}-4k", "dmabuf"), cost("passthrough", f"{verb}-4k", "dmabuf")))
             for verb in ("read", "write")]
    for case, passthrough, strict in (("read-4k", 0.83, 0.54), ("write-4k", 0.83, 0.54), ("read-64k", 0.54, 0.41),
                                      ("passthru-read-4k", 0.85, 0.55)):
        found += [Goal(f"{case}, dma-buf / user: {mode.upper()}", 0, bound,
                       ratio(cost(mode, case, "dmabuf"), cost(mode, case, "user")))
                  for mode, bound in (("passthrough", passthrough), ("strict", strict))]
    found.append(Goal("4 KiB read, dma-buf, passthrough command / block path: the worst mode", 0, 1,
                      worst([ratio(cost(mode, "passthru-read-4k", "dmabuf"), cost(mode, "read-4k", "dmabuf")) for mode in modes])))
    found.append(Goal("1 MiB read, dma-buf / user: the worst mode", 0, 0.10,
                      worst([ratio(cost(mode, "read-1m", "dmabuf"), cost(mode, "read-1m", "user")) for mode in modes])))
    found += [Goal(f"dma-buf read, 1 MiB / 4 KiB, {pages} pages: the worst mode", 0, 1.15,
                   worst([ratio(cost(mode, f"read-1m{suffix}", "dmabuf"), cost(mode, f"read-4k{suffix}", "dmabuf"))
                          for mode in modes])) for pages, suffix in (("4 KiB", ""), ("2 MiB", "-huge"))]
    found.append(Goal("1 MiB read in STRICT, dma-buf: NVMe commands per I/O", 0, 1,
                      cost("strict", "read-1m", "dmabuf", "commands_per_io")))
    found += [Goal(f"4 KiB at the last offset / at 0 of {BUFFER.upper()}iB: {mode.upper()}", 0.995, 1.005,
                   ratio(cost(mode, "read-4k-last", "dmabuf"), cost(mode, "read-4k-first", "dmabuf"))) for mode in modes]
    found.append(Goal("plain READ_FIXED, this kernel / unpatched base: the worst mode", 0, 1.002,
                      worst([ratio(fixed(result["rows"], mode), fixed(result["base_rows"], mode)) for mode in modes])))
    return found


def noise(rows: list[Row]) -> float | None:
    """The largest relative difference between the two rounds of a cell."""
    pairs: dict[tuple[str, str, str], list[float]] = {}
    for each in rows:
        pairs.setdefault((each["mode"], each["case"], each["registration"]), []).append(each["instructions_per_io"])
    spreads = [max(values) / min(values) - 1 for values in pairs.values() if len(values) > 1]
    return max(spreads) if spreads else None


def table(result: Row) -> list[str]:
    text = [f"  {'':<14}{'none':>11}{'user':>11}{'dmabuf':>11}{'dmabuf/user':>13}{'commands/IO':>13}{'register':>12}"]
    for case in result["cases"]:
        text.append(f" {case}: iocost {result['cases'][case]['arguments']}")
        for mode in result["modes"]:
            def of(registration: str, value: str = "instructions_per_io") -> float | None:
                return average(result["rows"], value, mode=mode, case=case, registration=registration)

            costs = {name: of(name) for name in ("none", "user", "dmabuf")}
            pair = f"{costs['dmabuf'] / costs['user']:.3f}" if costs["dmabuf"] and costs["user"] else "-"
            text.append(f"  {mode:<14}" + "".join("-".rjust(11) if cost is None else f"{cost:11,.1f}" for cost in costs.values())
                        + f"{pair:>13}{of('dmabuf', 'commands_per_io'):13.3f}"
                        + f"{(of('dmabuf', 'register_ns') or 0) / 1e6:9.2f} ms")
    return text


def split(result: Row, cases: tuple[str, ...] = ("read-4k", "read-1m")) -> list[str]:
    """Who executes the instructions, and how often an I/O does what is dear."""
    rows = [each for each in result["rows"] if each["case"] in cases and each["round"] == 1]
    names = [name for name in mechanisms.TITLES if any(each["mechanisms"][name] != 0 for each in rows)]
    never = [title for name, title in mechanisms.TITLES.items() if name not in names]
    text = [f"  {'':<21}{'user':>7}{'kernel':>8}{'irq':>7}" + "".join(f"{name.replace('_interrupt', ''):>9}" for name in names)]
    for case in cases:
        text += [f" {case}"] if any(each["case"] == case for each in rows) else []
        for each in (each for each in rows if each["case"] == case):
            shares = "".join(f"{each['contexts'][name]:{width},.0f}" for name, width in
                             (("user", 7), ("kernel", 8), ("interrupt", 7)))
            counts = ("-" if each["mechanisms"][name] is None else f"{each['mechanisms'][name]:.3f}" for name in names)
            text.append(f"  {each['mode']:<13}{each['registration']:<8}{shares}" + "".join(f"{count:>9}" for count in counts))
    return text + ([f"  never: {', '.join(never)}"] if never else [])


def by_function(result: Row, case: str = "read-4k", top: int = 20) -> list[str]:
    text: list[str] = []
    for mode in result["modes"]:
        rows = [each for each in result["rows"] if each["mode"] == mode and each["case"] == case
                and each["registration"] == "dmabuf" and each["round"] == 1]
        for each in rows:
            names = list(each["functions"].items())[:top]
            text += [f" {case}, dmabuf, {mode}: {each['instructions_per_io']:,.1f}, of which",
                     *(f"  {count:8.1f}  {name:<36} {attribution.subsystem(name)}" for name, count in names)]
    return text


def movers(result: Row) -> list[str]:
    """Functions of an ordinary fixed read that this kernel changed, against the base."""
    text: list[str] = []
    for before in result["base_rows"]:
        after = next((each for each in result["rows"] if each["mode"] == before["mode"] and each["case"] == before["case"]
                      and each["registration"] == "user"), None)
        if after and before["round"] == 1:  # CASES= may leave it out
            changes = attribution.moved(before["functions"], after["functions"])
            text += [f" {before['mode']}: {before['instructions_per_io']:,.1f} -> {after['instructions_per_io']:,.1f}",
                     *(f"  {change:+8.1f}  {name}" for name, change in changes[:12])]
    return text


def render(result: Row) -> str:
    made, place, spread = result["made_of"], result["circumstances"], noise(result["rows"])
    text = [f"Run {result['id']}: Linux {made['kernel']['release'].split()[0]}, {place['qemu'].split(' (')[0]}, TCG, 1 processor,",
            "VT-d and NVMe emulated, null disk, 128 deep in batches of 32; every path verified before it was measured.",
            "", "Instructions per I/O: all that the guest executes, counted one by one; time to register in guest time",
            *table(result)]
    if spread is not None:
        text.append(f"  the two rounds of a cell differ by {spread:.3%} at most")
    text += ["", "User, kernel and interrupt (entry to irqentry_exit, softirqs with it); calls per I/O", *split(result)]
    missing = sum(1 for goal in goals(result) if goal.value is None)
    text += ["", "Goals", *(str(goal) for goal in goals(result))]
    if missing:
        text.append(f"  {missing} not measured: all MODES and CASES, and BASE= (`make kernel VARIANT=unpatched`) are needed")
    text += ["", "Where the instructions are", *by_function(result)]
    if result["base_rows"]:
        text += ["", "An ordinary fixed read, unpatched base -> this kernel", *movers(result)]
    return "\n".join(text) + "\n"


def run(modes: tuple[str, ...], cases: tuple[str, ...], kernel: Path, base: Path | None) -> None:
    directory = measure(modes, cases, kernel, base)
    result = store.load(directory / "cost.json", store.OF_COST)
    finish(result, directory)
    print(f"\n{render(result)}\nrecord, figures and report.html: {directory.relative_to(ROOT)}")


def finish(result: Row, directory: Path) -> None:
    """All that a record is shown as."""
    from ..judge import regress
    from ..show import dashboard, plot, report

    (directory / "cost.txt").write_text(render(result))
    plot.subsystems(result, directory)
    plot.curves(result, directory)
    plot.history(regress.shown(), directory)
    dashboard.write(directory, smaller=dashboard.of_cost(result))
    report.write(directory)
