# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the console log show a kernel that complained?  What counts is data."""

import re

DENY = re.compile("|".join((
    r"\bBUG: (?!KCSAN)", r"kernel BUG at", r"\bWARNING: ", r"\bOops\b", r"Kernel panic", r"general protection fault",
    r"Unable to handle kernel", r"KASAN: ", r"KFENCE: ", r"KCSAN: .*dma_?buf", r"UBSAN: ", r"KMSAN: ", r"kmemleak: \d+ new",
    r"INFO: task .* blocked", r"soft lockup", r"hard LOCKUP", r"rcu.*(detected|self-detected) .*stall",
    r"possible (circular|recursive) locking", r"inconsistent lock state", r"suspicious RCU usage",
    r"bad unlock balance", r"held lock freed", r"DEBUG_LOCKS_WARN_ON", r"sleeping function called from invalid",
    r"scheduling while atomic", r"refcount_t: ", r"DMA-API: .*(device driver|error|leak)", r"list_(add|del) corruption",
    r"Bad page (state|map)", r"page_table_check", r"stack-protector", r"DMAR: .*fault", r"nobody cared",
    r"Out of memory: Killed", r"nvme .*(timeout|I/O error|controller is down)", r"workqueue lockup",
)))
BEGIN, END = "harness: start", "harness: end"


def splats(console: str, provoked: str = "") -> list[str]:
    """The lines that complain, but for those that match `provoked`.

    A log without our own first mark cannot vouch for anything.  Of data races only those in our functions count:
    mainline has others.
    """
    excused = re.compile(provoked or r"(?!)")
    found = [line for line in console.splitlines() if DENY.search(line) and not excused.search(line)]
    if not found and BEGIN not in console:
        found = [f"the console log lacks the mark '{BEGIN}': it cannot show a clean kernel"]
    return found
