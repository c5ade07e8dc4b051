# SPDX-License-Identifier: GPL-2.0-or-later
"""Each thing that a machine can lack is a line with a next step, and the status says that something is missing."""

import os
import re
import shutil

import pytest

from harness.build import cache, deps, sources
from harness.check import doctor
from harness.fault import Fault
from harness.machine import guest
from harness.record import provenance


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """One that has everything."""
    monkeypatch.setattr(deps, "missing", lambda packages: [])
    monkeypatch.setattr(doctor, "available_memory", lambda: 64 << 30)
    monkeypatch.setattr(doctor, "free_of", lambda place: 100 << 30)
    for module in (doctor, cache, guest):
        monkeypatch.setattr(module, "CACHE", tmp_path)
    monkeypatch.setattr(provenance, "checkout", lambda: {"git_commit": "a" * 40})
    monkeypatch.setattr(sources, "mirror", lambda: "a mirror")
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr(os, "access", lambda *_: True)
    return monkeypatch


def said(capsys):
    status = doctor.report()
    return status, capsys.readouterr().out


def test_a_machine_that_has_everything_is_ready(machine, capsys):
    status, text = said(capsys)
    assert status == 0 and text.endswith("ready\n") and "not ready" not in text and "MISSING" not in text


def raises(sentence):
    def function(*_):
        raise Fault(sentence)
    return function


@pytest.mark.parametrize("place, name, value, what, step", (
    (deps, "missing", lambda packages: ["flex"], "packages", "make deps"),
    (doctor, "available_memory", lambda: 1 << 30, "memory", "end something"),
    (doctor, "free_of", lambda place: 1 << 20, "cache", "XDG_CACHE_HOME"),
    (doctor, "free_of", lambda place: 1 << 20, "temporary", "TMPDIR"),
    (doctor.platform, "machine", lambda: "aarch64", "system", "for x86-64"),
    (provenance, "checkout", raises("safe.directory"), "checkout", "safe.directory"),
))
def test_what_is_missing_has_a_next_step(machine, capsys, place, name, value, what, step):
    machine.setattr(place, name, value)
    status, text = said(capsys)
    line = next(line for line in text.splitlines() if line.split()[1:2] == [what])
    assert status == 1 and line.startswith("MISSING") and step in line
    assert what in text.splitlines()[-1] and text.splitlines()[-1].startswith("not ready: ")


@pytest.mark.parametrize("place, name, value, what, words", (
    (os, "getloadavg", lambda: (9.5, 0, 0), "load", "9.5 on"),
    (doctor, "available_memory", lambda: 8 << 30, "memory", "make cost"),
    (os, "access", lambda *_: False, "KVM", "Counts are the same"),
    (guest, "kvm_verdicts", lambda: {"a": False}, "KVM", "no guest has run"),
    (provenance, "checkout", lambda: {"git_commit": None}, "checkout", "no commit"),
    (sources, "mirror", raises("name sources"), "sources", "name sources"),
    (shutil, "which", lambda name: None, "system", "KERNEL_SRC="),
))
def test_what_is_less_than_it_could_be_is_a_note(machine, capsys, place, name, value, what, words):
    machine.setattr(place, name, value)
    line = next(line for line in said(capsys)[1].splitlines() if line.split()[1:2] == [what])
    assert line.startswith("note") and words in line


def test_each_verb_has_the_time_that_it_took_here(machine, capsys):
    cache.took("bench", 1512)
    text = said(capsys)[1]
    assert doctor.expected()["bench"] and doctor.expected().keys() >= {"guest-run", "kernel", "regress", "test"}
    assert re.search(r"^bench +\d+:00 +25:12$", text, re.M) and re.search(r"^regress +\d+:\d\d +-$", text, re.M)
