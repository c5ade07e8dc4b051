# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether every instruction is counted, once, and put where it belongs."""

import re
import subprocess
import sys

import pytest

from harness.fault import Fault
from harness.measure import attribution, calls, cost
from harness.paths import ROOT
from harness.record import mechanisms

WHERE = {"io_uring/": "io_uring", "block/": "block", "drivers/nvme/": "NVMe", "drivers/iommu/": "DMA/IOMMU",
         "kernel/dma/": "DMA/IOMMU"}


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """What the plugin writes about the program that fake_qemu.c runs."""
    place = tmp_path_factory.mktemp("profile")
    gcc = ["gcc", "-O2", "-Wall", "-Werror"]
    here = ROOT / "tests/harness"
    subprocess.run([*gcc, "-shared", "-fPIC", "-o", place / "profile.so", ROOT / "harness/qemu/profile.c"], check=True)
    subprocess.run([*gcc, "-rdynamic", "-o", place / "fake_qemu", here / "fake_qemu.c", "-ldl"], check=True)
    subprocess.run([place / "fake_qemu", place / "profile.so", place / "out"], check=True)
    texts = [(place / f"out.{number}").read_text() for number in (0, 1)]
    assert not (place / "out.2").exists()
    return [{int(address, 16): int(count) for address, count in re.findall(r"^(\w+) (\d+)$", text, re.M)}
            | {"interrupts": text.splitlines()[0]} for text in texts]


def test_only_what_runs_between_the_marks_counts(windows):
    work = (0x400000, 0xffffffff81000001, 0xffffffff81000003)
    assert [[window[address] for address in work] for window in windows] == [[7, 7, 7], [1, 1, 1]]


def test_the_marks_count_as_no_more_than_themselves(windows):
    for window in windows:
        assert sum(window.get(mark, 0) for mark in (0x1000, 0x2000)) <= 2
        assert len(window) <= 10


def test_interrupts_last_from_the_first_stub_to_the_way_out(windows):
    assert [window["interrupts"] for window in windows] == ["interrupts 2 6", "interrupts 0 0"]


def test_where_interrupts_begin_and_end():
    assert attribution.plugin_arguments(SYSTEM_MAP) == ",enter=ffffffff81000140-ffffffff8100014f,enter=ffffffff81001300-ffffffff81001300,leave=ffffffff81000a00"
    assert attribution.plugin_arguments("ffffffff81000000 T _stext\n") == ""


def test_user_kernel_and_interrupt_add_up():
    text = "interrupts 3 40\n401000 10\nffffffff81000a00 50\nffffffff81002000 7\n"
    assert attribution.window(text, SYSTEM_MAP).contexts() == {"user": 10, "kernel": 10, "interrupt": 40}


def test_calls_are_executions_of_the_first_instruction():
    window = attribution.window("ffffffff81000a00 5\nffffffff81000a02 9\n", SYSTEM_MAP)
    assert (window.calls["irqentry_exit"], window.calls["_stext"]) == (5, 0)


SYSTEM_MAP = """\
ffffffff81000000 T _stext
ffffffff81000140 T irq_entries_start
ffffffff81000150 T spurious_entries_start
ffffffff81000a00 T irqentry_exit
ffffffff81001300 T asm_sysvec_apic_timer_interrupt
ffffffff81002000 t cpu_idle_poll
"""


def test_a_function_that_this_kernel_lacks_is_not_counted_as_never_called():
    seen = {"iommu_unmap": 3, "iommu_unmap_fast": 4, "nvme_setup_cmd": 10}
    counts = calls.count(attribution.Window({}, seen, 0, 0), 10, 1)
    assert (counts["map"], counts["unmap"], counts["command"], counts["eagain"]) == (None, 0.7, 1, 0.1)
    assert counts.keys() == mechanisms.TITLES.keys()


@pytest.mark.parametrize("argument", ("in=x", "enter=5", "leave=here"))
def test_the_plugin_refuses_what_it_does_not_know(tmp_path, argument):
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "p.so", ROOT / "harness/qemu/profile.c"], check=True)
    program = ("import ctypes, sys; ctypes.CDLL(None); plugin = ctypes.CDLL(sys.argv[1], mode=1);"
               "words = (ctypes.c_char_p * 2)(b'out=/tmp/x', sys.argv[2].encode());"
               "sys.exit(plugin.qemu_plugin_install(ctypes.c_uint64(1), None, 2, words))")
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "p.so", argument], capture_output=True, text=True)
    assert done.returncode == 1 and "say where to" in done.stderr


def test_a_count_that_cannot_be_written_is_an_error(tmp_path):
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "p.so", ROOT / "harness/qemu/profile.c"], check=True)
    subprocess.run(["gcc", "-rdynamic", "-o", tmp_path / "q", ROOT / "tests/harness/fake_qemu.c", "-ldl"], check=True)
    done = subprocess.run([tmp_path / "q", tmp_path / "p.so", tmp_path / "missing/out"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "missing/out" in done.stderr


def test_names_tell_what_the_objects_tell(data):
    """functions.txt: functions seen in profiles of all paths, and the object that nm found each in."""
    lines = [line.split() for line in (data / "functions.txt").read_text().splitlines()]
    assert len(lines) > 180
    wrong = [(name, attribution.subsystem(name), file) for name, file in lines
             if attribution.subsystem(name) != next(where for prefix, where in WHERE.items() if file.startswith(prefix))]
    assert wrong == []


@pytest.mark.parametrize("name, where", (
    ("_raw_spin_lock_irq", "other"), ("io_serial_out", "other"), ("handle_edge_irq", "interrupt"),
    ("__common_interrupt", "interrupt"), ("make_range_ul", "DMA/IOMMU"), ("kiocb_done", "io_uring"),
))
def test_names_that_mislead(name, where):
    assert attribution.subsystem(name) == where


def test_waiting_is_kept_apart():
    symbols = "ffffffff81000000 t cpu_idle_poll.isra.0\nffffffff81000100 t cpu_idle\n"
    window = attribution.window("ffffffff81000010 5\nffffffff81000110 2\n", symbols)
    assert window.functions == {attribution.IDLE: 5, "cpu_idle": 2}
    assert window.contexts()["kernel"] == 2


def test_small_functions_are_not_lost():
    shares = attribution.per_io({"a": 1000, "b": 3, "c": 2, "d": 999}, 1000)
    assert list(shares) == ["a", "d", attribution.REST]
    assert shares[attribution.REST] == pytest.approx(0.005)
    assert sum(shares.values()) == pytest.approx(2.004)


def row(counts, clock, calls=(("nvme_setup_cmd", 10),), runs=16384):
    result = {"ios": 10, "commands": 10, "eagain": 0, "window_ns": clock * cost.NS_AN_INSTRUCTION, "pages": 16384, "runs": runs}
    return cost.row("strict", cost.CASES["read-4k"], "user", 1, result, attribution.Window(counts, dict(calls), 0, 0))


def test_waiting_is_no_cost():
    counted = row({"io_read": 20000, attribution.IDLE: 5000}, 25000)
    assert (counted["instructions_per_io"], counted["idle_per_io"]) == (2000, 500)
    assert sum(counted["functions"].values()) == pytest.approx(2000)


def test_a_profile_that_the_clock_contradicts_is_refused():
    assert row({"io_read": 20000}, 20019)["executed_over_clock"] == pytest.approx(1, abs=1e-3)
    for clock in (20021, 19979):
        with pytest.raises(Fault, match="adds up to 20,000 instructions"):
            row({"io_read": 20000}, clock)


def test_memory_that_the_kernel_gave_otherwise_is_refused():
    assert row({"io_read": 20000}, 20000)["memory"] == "scattered"
    with pytest.raises(Fault, match="strict read-4k user: 16384 pages lie in 9000 pieces"):
        row({"io_read": 20000}, 20000, runs=9000)


def test_a_count_of_calls_that_the_disk_contradicts_is_refused():
    # Two may lie across the edges of the window.
    assert row({"io_read": 20000}, 20000, (("nvme_setup_cmd", 12),))["commands_per_io"] == 1
    with pytest.raises(Fault, match="1.3000 NVMe commands per I/O were set up, 1.0000 completed"):
        row({"io_read": 20000}, 20000, (("nvme_setup_cmd", 13),))
