# SPDX-License-Identifier: GPL-2.0-or-later
"""harness/build/deb.py and check/debian.py: whose fio it is for, and how a root is entered."""

import shlex
import subprocess
from pathlib import Path

import pytest

from harness.build import deb, sources
from harness.check import debian
from harness.fault import Fault


def policy(monkeypatch, text):
    monkeypatch.setattr(deb.subprocess, "run", lambda argv, **_: subprocess.CompletedProcess(argv, 0, text, ""))
    monkeypatch.setattr(sources, "fio_release", lambda version, suite: Path(f"/{suite}/fio-{version}"))


@pytest.mark.parametrize("candidate, tree", [("3.33-3", "/bookworm/fio-3.33"), ("3.39-1+b2", "/trixie/fio-3.39"), ("1:3.41-2", "/sid/fio-3.41")])
def test_the_fio_of_this_debian(monkeypatch, candidate, tree):
    policy(monkeypatch, f"fio:\n  Installed: (none)\n  Candidate: {candidate}\n  Version table:\n")
    assert deb.distribution() == Path(tree)


@pytest.mark.parametrize("text, named", [("fio:\n  Installed: (none)\n  Candidate: 3.36-1\n", "3.36"), ("", "the"), ("fio:\n  Candidate: (none)\n", "the")])
def test_one_without_a_source_is_named(monkeypatch, text, named):
    policy(monkeypatch, text)
    with pytest.raises(Fault, match=f"no source is known for {named} fio of this system.*FIO_SRC="):
        deb.distribution()


def test_a_root_is_entered_in_namespaces_of_its_own():
    """Whatever is in the path and in the command reaches the shell in the root as it is."""
    argv = debian.enter(Path("/a root/it's"), "echo 'a b' \"$HOME\"")
    assert argv[:5] == ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    outer = shlex.split(argv[-1])
    assert outer[:4] == ["mount", "--bind", "/a root/it's", "/a root/it's"] and "/a root/it's/proc" in outer and outer[outer.index("chroot") + 1] == "/a root/it's"
    assert outer[-1].endswith("cd /src; echo 'a b' \"$HOME\"")
