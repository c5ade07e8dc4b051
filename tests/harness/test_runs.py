# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories of runs: two at once, one that broke off, one that is whole; and what git must say of them."""

import os
import subprocess
import sys

import pytest
import test_bench

from harness.fault import Fault
from harness.paths import ROOT
from harness.record import provenance, runs, schema, store


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runs, "UNFINISHED", tmp_path / "unfinished")
    return tmp_path


def names(place):
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def test_two_runs_at_once_have_a_directory_each(places):
    with runs.unfinished("key") as first, runs.unfinished("key") as second:
        assert first != second
        done = [runs.finish(place, "key", schema.OF_BENCH, test_bench.record()) for place in (first, second)]
    assert len(set(done)) == 2 and names(places / "unfinished") == []
    assert [store.load(run / "run.json")["id"] for run in done] == [run.name for run in done]


def test_another_process_is_another_run(places):
    """The lock is the kernel's: it ends with who holds it, however."""
    code = ("import sys; from pathlib import Path; from harness.record import runs; runs.UNFINISHED = Path(sys.argv[1])\n"
            "with runs.unfinished('key') as place: (place / 'boot').touch(); print(place.name, flush=True); sys.stdin.read()")
    other = subprocess.Popen([sys.executable, "-c", code, str(places / "unfinished")], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "key\n"
    with runs.unfinished("key", again=True) as place:
        assert place.name == "key-2"
    other.kill()
    other.wait()
    with runs.unfinished("key", again=True) as place:
        assert place.name == "key" and names(place) == ["boot"]


def test_a_run_that_failed_leaves_nothing_in_results(places):
    for again, left in ((False, []), (True, ["boot"])):
        with pytest.raises(Fault), runs.unfinished("key") as place:
            (place / "boot").mkdir()
            raise Fault("no")
        with runs.unfinished("key", again=again) as place:
            assert names(place) == left
    assert names(places / "results") == []
    with pytest.raises(Fault), runs.unfinished("empty"):
        raise Fault("before anything was measured")
    assert "empty" not in names(places / "unfinished")


def test_a_finished_run_is_not_written_to_again(places):
    for number in range(3):
        with runs.unfinished("key", again=True) as place:
            assert names(place) == []
            (place / "boot").touch()
            assert names(runs.finish(place, "key", schema.OF_BENCH, test_bench.record())) == ["boot", "run.json"]
    assert [name[10:] for name in names(places / "results")] == ["-key", "-key-2", "-key-3"]


def test_two_of_one_place_take_turns(places, monkeypatch):
    monkeypatch.setattr(runs, "BUILD", places)
    code = ("import sys; from pathlib import Path; from harness.record import runs; runs.BUILD = Path(sys.argv[1])\n"
            "with runs.alone('regress'): print('mine', flush=True)")
    with runs.alone("regress"):
        other = subprocess.Popen([sys.executable, "-c", code, str(places)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert "waiting for another one" in other.stdout.readline()
    assert other.communicate(timeout=30)[0] == "mine\n"


def git(place, *words):
    subprocess.run(["git", "-C", str(place), "-c", "user.name=x", "-c", "user.email=x@example", *words], check=True, capture_output=True)


def test_what_git_says_of_the_checkout(places, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", places)
    assert provenance.checkout() == {"git_commit": None, "git_dirty": None}
    git(places, "init")
    git(places, "commit", "--allow-empty", "-m", "first")
    assert provenance.checkout()["git_dirty"] is False and len(provenance.checkout()["git_commit"]) == 40
    (places / "new").touch()
    assert provenance.checkout()["git_dirty"] is True


@pytest.mark.skipif(os.geteuid() != 0, reason="another owner takes root")
def test_git_that_does_not_answer_has_not_said_that_nothing_changed(places, monkeypatch):
    """A checkout of another user, as in a container: git refuses it unless told otherwise."""
    monkeypatch.setattr(provenance, "ROOT", places)
    monkeypatch.setenv("HOME", str(places))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    git(places, "init")
    git(places, "commit", "--allow-empty", "-m", "first")
    os.chown(places, 1234, 1234)
    with pytest.raises(Fault, match="git cannot tell .*safe.directory") as caught:
        provenance.checkout()
    assert "\n" not in str(caught.value)
    with pytest.raises(Fault, match="git cannot tell .*safe.directory"):
        provenance.commit_of("HEAD~1")
    subprocess.run(["git", "config", "--global", "--add", "safe.directory", str(places)], check=True)
    assert provenance.checkout()["git_dirty"] is True  # .gitconfig is new


def test_what_measures_is_part_of_the_key(monkeypatch, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/verify").write_text("first")
    monkeypatch.setattr(provenance, "BUILD", tmp_path)
    monkeypatch.setattr(provenance, "qemu_version", lambda: "QEMU 7.2")
    first = provenance.measured_by()
    (tmp_path / "tests/verify").write_text("second")
    second = provenance.measured_by()
    monkeypatch.setattr(provenance, "qemu_version", lambda: "QEMU 9")
    third = provenance.measured_by()
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness/store.py").write_text("another")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert len({str(each) for each in (first, second, third, provenance.measured_by())}) == 4
