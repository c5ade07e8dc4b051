# SPDX-License-Identifier: GPL-2.0-or-later
"""From counts by address (harness/qemu/profile.c) to functions, and from functions to subsystems."""

import bisect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

USER = "(user)"
IDLE = "(idle)"  # what waits instead of halting when booted with idle=poll
REST = "(rest)"
USER_END = 1 << 47  # x86-64 with four levels of page tables

# By name, first match counts: a System.map does not say which object a function came from
# (the tests compare with what the objects of a build say).
SUBSYSTEMS = {
    "user": r"\(user\)",
    "io_uring": r"_*io_(?!schedule|serial)|tctx_|req_ref|__(do|x64)_sys_io_uring|kiocb_done|ctx_flush_and_put",
    "NVMe": r"_*nvme_",
    "DMA/IOMMU": r"_*dma_|_*iommu_|intel_iommu|qi_|_*domain_|.*iova|dmar_|cache_tag|pfn_to_dma|_*iotlb|clflush|"
                 r"_*pt_iommu|.*x86_64_pt|.*vtdss|.*amdv1|do_map|_*map_range|_*unmap_range|make_range|"
                 r"gather_range|swiotlb|is_swiotlb|p2pdma",
    "block": r"_*blk|_*bio|_*submit_bio|_*sbitmap|_*part_|bdev|I_BDEV|update_io_ticks|_*rq_|mempool|_*disk_|invalidate_inode|"
             r"filemap_|kiocb|xas_|_*iov_iter|_*bvec|errno_to_blk|should_fail_bio|import_ubuf|want_pages",
    "interrupt": r"_*irq|(?!_raw_).*_irq$|_*handle_.*irq|handle_edge|_*common_interrupt|asm_common|.*restore_regs|native_irq|"
                 r"error_|.*apic|note_interrupt|add_interrupt|fast_mix|"
                 r"_*sysvec|asm_sysvec|.*timer|_*hrtimer|tick_|ktime|clockevents|.*softirq|_*run_timer|"
                 r".*timekeeping|update_(wall_time|vsyscall|process_times)|ntp_",
    "system call": r"entry_|do_syscall|x64_sys|syscall_|exit_to_user|arch_do_signal|get_signal|fget|fput|task_work",
}



@dataclass(frozen=True)
class Window:
    """What the machine did between the two marks."""

    functions: dict[str, int]  # instructions: user space as one, what has no symbol as (unknown)
    calls: dict[str, int]  # executions of a function's first instruction; 0 for one that was never called
    interrupts: int
    interrupt_instructions: int  # from the entry stub to irqentry_exit, softirqs included; functions has them too

    def contexts(self) -> dict[str, int]:
        """Instructions by who was at work: they add up to all but the idle loop's."""
        user, idle = self.functions.get(USER, 0), self.functions.get(IDLE, 0)
        return {"user": user, "kernel": sum(self.functions.values()) - user - idle - self.interrupt_instructions,
                "interrupt": self.interrupt_instructions}


def text_symbols(system_map: str) -> list[tuple[int, str]]:
    return sorted((int(address, 16), name) for address, kind, name in
                  (line.split() for line in system_map.splitlines()) if kind in "tTwW")


def plugin_arguments(system_map: str) -> str:
    """Where interrupts begin and end, for the plugin: the stubs of devices, those of the local APIC, the common way out."""
    places = {name: address for address, name in text_symbols(system_map)}
    ranges = [(places[name], places[name]) for name in places if name.startswith("asm_sysvec_")]
    if {"irq_entries_start", "spurious_entries_start"} <= places.keys():
        ranges.append((places["irq_entries_start"], places["spurious_entries_start"] - 1))
    return "".join([*(f",enter={first:x}-{last:x}" for first, last in sorted(ranges)),
                    f",leave={places['irqentry_exit']:x}" if "irqentry_exit" in places else ""])


def places(system_map: str) -> Callable[[int], tuple[str, bool]]:
    """Of an address: the function there, and whether it begins there. User space is one, what has no symbol is (unknown)."""
    symbols = text_symbols(system_map)
    addresses = [address for address, _ in symbols]

    def place(address: int) -> tuple[str, bool]:
        index = bisect.bisect_right(addresses, address) - 1
        if address < USER_END:
            return USER, False
        return (symbols[index][1], addresses[index] == address) if index >= 0 else ("(unknown)", False)

    return place


def window(text: str, system_map: str) -> Window:
    """What the plugin wrote, by function."""
    place = places(system_map)
    found: Counter[str] = Counter()
    calls = dict.fromkeys((name for _, name in text_symbols(system_map)), 0)
    number = instructions = 0
    for line in text.splitlines():
        if line.startswith("interrupts "):
            number, instructions = map(int, line.split()[1:])
            continue
        address, count = line.split()
        name, begins = place(int(address, 16))
        if begins:
            calls[name] += int(count)
        found[IDLE if name.partition(".")[0] == "cpu_idle_poll" else name] += int(count)
    return Window(dict(found), calls, number, instructions)


def per_io(counts: dict[str, int], ios: int, least: float = 0.01) -> dict[str, float]:
    """The largest first; those too small to tell apart become one, so that the sum stays."""
    shares = {name: count / ios for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
    kept = {name: share for name, share in shares.items() if share >= least}
    return kept | {REST: sum(shares.values()) - sum(kept.values())}


def subsystem(function: str) -> str:
    return next((name for name, pattern in SUBSYSTEMS.items() if re.match(pattern, function)), "other")


def by_subsystem(profile: dict[str, float]) -> dict[str, float]:
    """In the order of SUBSYSTEMS, "other" last; the sum is the profile's."""
    found = dict.fromkeys([*SUBSYSTEMS, "other"], 0.0)
    for function, count in profile.items():
        found[subsystem(function)] += count
    return found


def moved(before: dict[str, float], after: dict[str, float], least: float = 0.5) -> list[tuple[str, float]]:
    """Functions that cost more or less than before, the largest change first."""
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in before.keys() | after.keys()}
    return sorted(((name, change) for name, change in changes.items() if abs(change) >= least),
                  key=lambda item: (-abs(item[1]), item[0]))


def system_map(kernel: Path) -> str:
    return (kernel.resolve().parent / "System.map").read_text()
