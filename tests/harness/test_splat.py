# SPDX-License-Identifier: GPL-2.0-or-later
"""A clean boot is clean, each complaint is found, and a log that proves nothing is not clean."""

import pytest

from harness.machine.splat import BEGIN, splats

COMPLAINTS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000010",
    "kernel BUG at block/bio.c:101!",
    "WARNING: CPU: 0 PID: 77 at io_uring/rsrc.c:12 io_free+0x1/0x2",
    "Oops: 0002 [#1] SMP",
    "Oops: general protection fault, probably for non-canonical address 0xdead000000000100",
    "BUG: KASAN: slab-use-after-free in nvme_unmap_data+0x10/0x20",
    "UBSAN: array-index-out-of-bounds in drivers/nvme/host/pci.c:9:1",
    "INFO: task fio:91 blocked for more than 122 seconds.",
    "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [fio:91]",
    "rcu: INFO: rcu_sched self-detected stall on CPU",
    "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... }",
    "WARNING: possible circular locking dependency detected",
    "WARNING: suspicious RCU usage",
    "refcount_t: underflow; use-after-free.",
    "DMA-API: nvme 0000:00:02.0: device driver has pending DMA allocations while released from device [count=1]",
    "DMAR: [DMA Write NO_PASID] Request device [00:02.0] fault addr 0xffffe000 [fault reason 0x05]",
    "list_del corruption, ffff888100000000->next is LIST_POISON1",
    "BUG: sleeping function called from invalid context at mm/slab.c:1",
    "nvme nvme0: I/O tag 5 (1005) opcode 0x2 (I/O Cmd) QID 1 timeout, aborting req_op:READ(0) size:4096",
    "Kernel panic - not syncing: Fatal exception",
    "BUG: KCSAN: data-race in dma_buf_io_make_map / io_read_fixed",
)


def test_a_clean_boot(data):
    assert splats((data / "dmesg-clean.txt").read_text()) == []


@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_each_complaint(data, complaint):
    line = f"[   12.345678] {complaint}"
    assert splats((data / "dmesg-clean.txt").read_text() + line + "\n") == [line]


@pytest.mark.parametrize("console", ("", "[    0.000000] Linux version 7.3.4\n"))
def test_a_log_without_our_mark_is_not_clean(console):
    assert BEGIN in splats(console)[0]


def test_data_races_of_others_are_theirs(data):
    line = "[    9.0] BUG: KCSAN: data-race in tick_nohz_next_event / tick_do_update_jiffies64"
    assert splats((data / "dmesg-clean.txt").read_text() + line + "\n") == []


def test_what_is_provoked_is_excused_and_nothing_else(data):
    log = (data / "dmesg-clean.txt").read_text() + "nvme nvme0: I/O tag 5 QID 1 timeout, aborting\n"
    assert splats(log, r"I/O tag .* timeout") == []
    assert len(splats(log + "BUG: gone wrong\n", r"I/O tag .* timeout")) == 1
