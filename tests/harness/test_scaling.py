# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cache lines count as shared, and whose accesses to them these are."""

import subprocess

import pytest

from harness.measure import scaling
from harness.paths import ROOT


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """What the plugin writes about the program in fake_memory.c."""
    place = tmp_path_factory.mktemp("sharing")
    gcc = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*gcc, "-Wno-unused-parameter", "-shared", "-fPIC", "-o", place / "sharing.so", ROOT / "harness/qemu/sharing.c"], check=True)
    subprocess.run([*gcc, "-Wno-missing-field-initializers", "-rdynamic", "-o", place / "fake", ROOT / "tests/harness/fake_memory.c", "-ldl"], check=True)
    subprocess.run([place / "fake", place / "sharing.so", place / "out"], check=True)
    assert not (place / "out.2").exists()
    return [(place / f"out.{number}").read_text() for number in (0, 1)]


def test_a_line_is_shared_if_one_writes_it_and_another_touches_it(windows):
    accesses = sorted(line for line in windows[0].splitlines() if not line.startswith("instructions"))
    assert accesses == ["30 0 40 0 1", "34 1 40 2 0"]  # instruction, processor, line, reads, writes


def test_each_window_begins_anew(windows):
    assert [line for line in windows[1].splitlines() if not line.startswith("instructions")] == []


def test_instructions_of_each_processor(windows):
    assert [line for line in windows[0].splitlines() if line.startswith("instructions")] == \
        ["instructions 0 6", "instructions 1 4", "instructions 2 1"]


def moves(text):
    return scaling.sharing(text, "ffffffff81000a00 T nvme_irq\nffffffff81000b00 T other\n")


def test_lines_that_two_use_alike_may_move_at_each_touch():
    got = moves("instructions 0 300\ninstructions 1 100\nffffffff81000a02 0 40 5 5\nffffffff81000b08 1 40 0 10\n")
    assert (got.instructions, got.lines, got.moves) == (400, 1, {"nvme_irq": 10, "other": 10})


def test_a_line_that_another_looks_at_once_moves_there_and_back():
    assert moves("ffffffff81000a02 0 40 500 500\n401000 1 40 1 0\n").moves.total() == pytest.approx(2)


def test_a_line_that_all_read_moves_when_it_is_written():
    assert moves("ffffffff81000a02 0 40 1000 1\nffffffff81000a02 1 40 1000 0\n").moves.total() == pytest.approx(2)
