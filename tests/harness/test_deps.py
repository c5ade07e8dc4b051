# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages that are missing are found, and named to who may not install them; another apt that runs is waited for."""

import os
import subprocess

import pytest

from harness.build import deps
from harness.fault import Fault


@pytest.fixture
def installed(monkeypatch):
    """A machine with all packages but bc, of which it knows, and flex, of which it does not."""
    lines = [f"installed {name}" for name in deps.PACKAGES if name not in ("bc", "flex")] + ["not-installed bc"]
    calls = []

    def run(argv, **_):
        calls.append(argv)
        return subprocess.CompletedProcess(argv, 1 if "flex" in argv else 0, "\n".join(lines) + "\n", "E: unreachable\n")
    monkeypatch.setattr(deps.subprocess, "run", run)
    return calls


@pytest.fixture
def foreign(monkeypatch, tmp_path):
    """A machine without dpkg, with what the test puts into its PATH."""
    monkeypatch.setattr(deps.shutil, "which", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None)
    return tmp_path


def test_elsewhere_what_is_missing_is_named(foreign):
    with pytest.raises(Fault, match="this is no Debian.* qemu-system-x86_64 setpriv") as caught:
        deps.install()
    assert "\n" not in str(caught.value)


def test_elsewhere_nothing_is_installed(foreign, monkeypatch):
    for name in deps.COMMANDS:
        (foreign / name).touch()
    monkeypatch.setattr(deps, "HEADERS", ())
    monkeypatch.setattr(deps, "MODULES", ("json", "no_such_module"))
    with pytest.raises(Fault, match=": python3-no_such_module$"):
        deps.install()
    monkeypatch.setattr(deps, "MODULES", ("json",))
    monkeypatch.setattr(deps.subprocess, "run", lambda *_, **__: pytest.fail("ran something"))
    deps.install()


def test_what_is_missing(installed):
    assert deps.missing(deps.PACKAGES) == ["bc", "flex"]


def test_who_is_not_root_is_told_the_command(installed, monkeypatch):
    monkeypatch.setattr(deps.os, "geteuid", lambda: 1000)
    with pytest.raises(Fault, match="sudo apt-get install .* bc flex"):
        deps.install()
    assert all(argv[0] == "dpkg-query" for argv in installed)


def test_a_mirror_that_does_not_answer_is_said(installed, monkeypatch):
    monkeypatch.setattr(deps.os, "geteuid", lambda: 0)
    with pytest.raises(Fault, match="E: unreachable"):
        deps.install()
    assert installed[-1][:2] == ["apt-get", "install"]


def test_nothing_is_run_when_all_is_there(installed, monkeypatch):
    monkeypatch.setattr(deps, "PACKAGES", ("make", "gcc"))
    deps.install()
    assert len(installed) == 1


def test_more_for_who_wants_more(installed):
    assert deps.missing(deps.ARM64) == list(deps.ARM64)


BUSY = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"


def busy(tmp_path, times):
    """A program that finds the lock taken so many times."""
    return ["sh", "-c", f'echo >>{tmp_path}/tries; [ $(wc -l <{tmp_path}/tries) -gt {times} ] || {{ echo "{BUSY}" >&2; exit 100; }}']


def test_a_lock_is_waited_for(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(deps.time, "sleep", lambda seconds: None)
    assert deps.patiently(busy(tmp_path, 3), dict(os.environ)).returncode == 0
    assert capsys.readouterr().out.count("waiting for another apt or dpkg") == 1


def test_but_not_for_ever(monkeypatch, tmp_path):
    monkeypatch.setattr(deps, "LOCK_S", -1)
    done = deps.patiently(busy(tmp_path, 3), dict(os.environ))
    assert done.returncode == 100 and BUSY in done.stderr


def test_nor_for_what_is_no_lock(monkeypatch, tmp_path):
    monkeypatch.setattr(deps.time, "sleep", None)  # or it would be called
    assert deps.patiently(["sh", "-c", "echo E: Unable to locate package >&2; exit 100"], dict(os.environ)).returncode == 100
