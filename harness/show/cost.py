# SPDX-License-Identifier: GPL-2.0-or-later
"""What an I/O costs, as plain text."""

from typing import Any

from ..judge.goals import goals, noise
from ..measure import attribution
from ..record import mechanisms
from ..record.rows import average

Row = dict[str, Any]


def table(result: Row) -> list[str]:
    text = [f"  {'':<14}{'none':>11}{'user':>11}{'dmabuf':>11}{'dmabuf/user':>13}{'commands/IO':>13}{'register':>12}"]
    for case in result["cases"]:
        what = result["cases"][case]
        text.append(f" {case}: iocost --memory {what['memory']} {what['arguments']}")
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


def text(result: Row) -> str:
    made, place, spread = result["made_of"], result["circumstances"], noise(result["rows"])
    lines = [f"Run {result['id']}: Linux {made['kernel']['release'].split()[0]}, {place['qemu'].split(' (')[0]}, TCG, 1 processor,",
            "VT-d and NVMe emulated, null disk, 128 deep in batches of 32; every path verified before it was measured.",
            "", "Instructions per I/O: all that the guest executes, counted one by one; time to register in guest time",
            *table(result)]
    if spread is not None:
        lines.append(f"  the two rounds of a cell differ by {spread:.3%} at most")
    lines += ["", "User, kernel and interrupt (entry to irqentry_exit, softirqs with it); calls per I/O", *split(result)]
    missing = sum(1 for goal in goals(result) if goal.value is None)
    lines += ["", "Goals", *(str(goal) for goal in goals(result))]
    if missing:
        lines.append(f"  {missing} not measured: all MODES and CASES, and BASE= (`make kernel VARIANT=unpatched`) are needed")
    lines += ["", "Where the instructions are", *by_function(result)]
    if result["base_rows"]:
        lines += ["", "An ordinary fixed read, unpatched base -> this kernel", *movers(result)]
    return "\n".join(lines) + "\n"
