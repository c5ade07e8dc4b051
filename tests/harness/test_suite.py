# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots side by side, and what is said while they run."""

import io
import os
import subprocess
import sys
import threading

import pytest

from harness.check import suite
from harness.machine.splat import BEGIN
from harness.paths import ROOT


def test_results_come_in_order_and_some_at_a_time():
    meeting = threading.Barrier(len(os.sched_getaffinity(0)), timeout=10)

    def work(number):
        meeting.wait()
        return number

    count = 2 * meeting.parties
    assert suite.side_by_side([lambda n=n: work(n) for n in range(count)]) == list(range(count))


def test_an_error_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        suite.side_by_side([lambda: 1, lambda: 1 // 0])


def test_an_interrupt_waits_for_nobody():
    script = ("import signal, sys, time; from harness.check import suite; signal.signal(signal.SIGALRM, lambda *_: sys.exit(3));"
              "signal.alarm(1); suite.side_by_side([lambda: time.sleep(60)])")
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=20).returncode == 3


def test_the_end_of_a_program_is_said_and_all_is_kept(capsys):
    kept = io.BytesIO()
    sink = suite.Aloud(kept, "boot")
    for data in (b"  # inner took long\n# data to", b"ok 4 s, 1 timeouts of requests\nok 1 - da", b"ta\n"):
        sink.write(data)
    assert capsys.readouterr().out == "  boot: data took 4 s, 1 timeouts of requests\n"
    assert kept.getvalue().count(b"\n") == 3


def test_what_failed_is_said_with_its_reasons():
    text = ("KTAP version 1\n1..2\n  1..4\n  # of the first\n  ok 1 - good\n  # wanted 1\n  not ok 2 - bad\n"
            "  ok 3 - left # SKIP no disk\n  # 7 ms\n  ok 4 - good too\n# a splat\nnot ok 1 - program # exit status 1\n")
    assert list(suite.worth_saying(text)) == ["# wanted 1", "not ok 2 - bad", "ok 3 - left # SKIP no disk",
                                              "# a splat", "not ok 1 - program # exit status 1"]


DOWN = f"""\
[    0.90] {BEGIN}
[   12.50] tests/kernel: going down
[   15.10] dma-buf-io-test: took back 5 buffers
[   15.25] reboot: Restarting system
"""


@pytest.mark.parametrize(("change", "why"), (
    (("", ""), ""),
    (("reboot: Restarting system", "x"), "did not go down"),
    (("tests/kernel: going down", "x"), "never said"),
    (("took back 5", "took back 0"), "nothing to take back"),
    (("15.25", "75.25"), "more than 60 s"),
    (("[   15.10]", "[   15.00] INFO: task kworker blocked for more than 20 seconds\n[   15.10]"), "complained"),
))
def test_guest_that_goes_down(change: tuple[str, str], why: str) -> None:
    said = suite.went_down(DOWN.replace(*change) if change[0] else DOWN, 60)
    assert (why in said) if why else not said
