# SPDX-License-Identifier: GPL-2.0-or-later
"""What others had of a processor, by figures of /proc made up here."""

import io
import os

import pytest

from harness.measure import disturbance


@pytest.fixture
def place(tmp_path, monkeypatch):
    """/proc and a clock that the test turns: busy ticks of processor 1, its steal, those of process 7."""
    now = {"wall": 0.0, "busy": 0, "steal": 0, "own": 0}

    def write():
        (tmp_path / "7").mkdir(exist_ok=True)
        (tmp_path / "stat").write_text(f"cpu  0 0 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1\ncpu1 {now['busy']} 0 0 999 5 0 0 {now['steal']} 0 0\n")
        (tmp_path / "7/stat").write_text(f"7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 {now['own']} 0 0 0\n")
        (tmp_path / "cpuinfo").write_text("cpu MHz\t\t: 2000.5\ncpu MHz\t\t: 2600.0\n")

    def turn(**steps):
        for name, step in steps.items():
            now[name] += step
        write()

    write()
    monkeypatch.setattr(disturbance, "PROC", tmp_path)
    monkeypatch.setattr(disturbance, "TICKS", 100)
    monkeypatch.setattr(disturbance.time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1})
    return turn


def run(turn, **steps):
    kept = io.BytesIO()
    watch = disturbance.Watch(kept)
    watch.started(7)
    watch.write(b"before\ncell begins: job us")
    watch.write(b"er 1\n")
    turn(**steps)
    watch.write(b"cell ends: job user 1\nafter\n")
    assert kept.getvalue().count(b"\n") == 4
    return watch.cells


def test_others_are_what_was_busy_and_not_ours(place):
    found = run(place, wall=2.0, busy=200, own=150)["job user 1"]
    assert (found["others"], found["steal"], found["mhz"]) == (0.25, 0.0, 2600.0) and found["load"] >= 0


def test_a_guest_that_has_it_alone_is_undisturbed(place):
    assert run(place, wall=2.0, busy=180, own=185)["job user 1"]["others"] == 0  # ticks are coarse


def test_what_a_hypervisor_took_counts(place):
    found = run(place, wall=2.0, busy=100, own=100, steal=80)["job user 1"]
    assert (found["others"], found["steal"]) == (0.4, 0.4)


def test_of_a_guest_on_any_processor_nothing_is_told(place, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert run(place, wall=2.0, busy=200, own=0) == {}


def test_a_guest_that_has_ended_is_no_error(place, tmp_path):
    (tmp_path / "7/stat").unlink()
    assert disturbance.Watch(io.BytesIO()).cells == {}
    watch = disturbance.Watch(io.BytesIO())
    watch.started(7)
    watch.write(b"cell begins: a\ncell ends: a\n")
    assert watch.cells == {}


def test_the_script_says_when():
    assert disturbance.script("job user 1", "must true").splitlines() == ["echo 'cell begins: job user 1'", "must true", "echo 'cell ends: job user 1'"]
