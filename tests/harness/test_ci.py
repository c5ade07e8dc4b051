# SPDX-License-Identifier: GPL-2.0-or-later
"""The files for CI services, run step by step (ci.py) with a gate that passes, one that fails and one that never gets that far."""

import os
import re
import subprocess

import ci
import pytest
import yaml

from harness.judge import regress
from harness.measure import gate
from harness.paths import ROOT
from harness.record import history, schema, store

FILES = {name: (ROOT / f"docs/ci/{name}.yml").read_text() for name in ("github", "gitlab")}
# What `make regress` would do: ask git as the harness does, leave a kernel in the cache and a summary.
MAKE = """#!/bin/sh
[ "$1" = regress ] || exit 9
git -C "$PWD" rev-parse HEAD >{root}/commit || exit 8
git -C "$PWD" status --porcelain >{root}/changed || exit 8
[ {gate} = broken ] && {{ echo "make: no rule"; exit 2; }}
mkdir -p "$XDG_CACHE_HOME/dmabuf-bench/kernel/abc" build/regress
[ -e "$XDG_CACHE_HOME/dmabuf-bench/kernel/abc/bzImage" ] && echo hit >{root}/hit
echo kernel >"$XDG_CACHE_HOME/dmabuf-bench/kernel/abc/bzImage"
[ {gate} = silent ] && exit 240
echo "### the verdict" >build/regress/summary.md
[ {gate} = passes ]
"""


@pytest.fixture
def place(tmp_path):
    """A service's machine: another HOME, a checkout of another user, packages that install themselves."""
    small = tmp_path / "origin"
    small.mkdir()
    (small / ".gitignore").write_text("/build/\n")
    for words in (("init", "-q"), ("add", "."), ("-c", "user.name=x", "-c", "user.email=x@example", "commit", "-qm", "first")):
        subprocess.run(["git", "-C", str(small), *words], check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "bin/apt-get").chmod(0o755)
    return ci.Place(tmp_path / "root", tmp_path / "store", clone_of=small, environment={
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "GIT_CONFIG_SYSTEM": str(tmp_path / "gitconfig")})


def run(place, name, gate):
    place.root.mkdir(exist_ok=True)
    path = place.root.parent / "bin/make"
    path.write_text(MAKE.format(root=place.root, gate=gate))
    path.chmod(0o755)
    ran, summary = getattr(ci, name)(place, FILES[name])
    return ran, [step for step, status in ran if status], summary


@pytest.mark.parametrize("name, step", (("github", "make regress"), ("gitlab", "script")))
@pytest.mark.parametrize("gate, kept", (("passes", True), ("fails", True), ("silent", True), ("broken", False)))
def test_the_gate_alone_decides_and_its_kernel_is_kept(place, capfd, name, step, gate, kept):
    ran, failed, summary = run(place, name, gate)
    assert failed == ([] if gate == "passes" else [step])
    said = summary or capfd.readouterr().out
    assert ("### the verdict" in said) == (gate in ("passes", "fails")) and ("no figures" in said) == (gate in ("silent", "broken"))
    assert len((place.root / "commit").read_text().strip()) == 40  # git was asked, whoever's checkout it is
    assert (place.root / "changed").read_text() == ""  # and the cache does not make it dirty
    assert any(place.store.rglob("bzImage")) is kept
    assert not (place.root / "hit").exists()
    # The next pipeline, whatever became of this one, has the kernel.
    run(place, name, "passes")
    assert (place.root / "hit").exists() is kept and (place.root / "changed").read_text() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="a checkout of another user takes root")
def test_our_own_entry_has_a_git_that_answers(place, monkeypatch):
    """.ci/run in a checkout of another user, with no configuration anywhere."""
    checkout = place.root / "checkout"
    place.clone("checkout")
    (checkout / ".ci").mkdir()
    (checkout / ".ci/run").write_text((ROOT / ".ci/run").read_text())
    path = place.root.parent / "bin/make"
    path.write_text("#!/bin/sh\ngit rev-parse HEAD\n")
    path.chmod(0o755)
    environment = {**place.environment, "HOME": str(place.root)}
    refused = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], env=environment, capture_output=True)
    assert refused.returncode == 128 and b"safe.directory" in refused.stderr
    done = subprocess.run(["sh", str(checkout / ".ci/run")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.strip()) == 40, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a checkout of another user takes root")
@pytest.mark.parametrize("name", FILES)
def test_without_its_line_git_would_refuse(place, monkeypatch, name):
    """What the test above shows is due to that line."""
    monkeypatch.setitem(FILES, name, re.sub(r"git config --system", "true", FILES[name]))
    assert run(place, name, "passes")[1]


def test_a_cache_that_were_saved_only_after_success_would_be_seen(place, monkeypatch):
    monkeypatch.setitem(FILES, "gitlab", FILES["gitlab"].replace("when: always  # whatever", "when: on_success  # whatever"))
    run(place, "gitlab", "fails")
    assert not any(place.store.rglob("bzImage"))


def test_the_gate_that_is_to_fail_would(tmp_path):
    """`make test-ci` runs it on a record that says less than what the same build costs."""
    shown = history.in_order(store.load(path, schema.OF_HISTORY) for path in (ci.spoiled(tmp_path / "clone") / "results/history").glob("*.json"))
    base, = (each for each in history.known() if each["commit"] == shown[-1]["commit"])
    assert base["commit"] == history.find("")["commit"]
    assert {finding.cell for finding in regress.findings(shown[-1], base)} == {gate.name_of(cell) for cell in base["cells"]}


@pytest.mark.parametrize("summary, failed, passes, good", (
    ("### no regression in 12 cells", [], True, True), ("### 3 regressions", ["make regress"], False, True),
    ("### no regression in 12 cells", ["make regress"], True, False), ("### 3 regressions", [], False, False),
    ("### no verdict", ["make regress"], False, False), ("", [], True, False), ("### 3 regressions", ["make regress", "apt-get"], False, False)))
def test_what_is_as_it_should_be(tmp_path, summary, failed, passes, good):
    place = ci.Place(tmp_path / "root", tmp_path / "store")
    where = place.path(ci.CHECKOUT["github"]) / "build/regress"
    where.mkdir(parents=True)
    if summary:
        (where / "summary.md").write_text(f"{summary}\n\nmore\n")
    place.store.mkdir()
    (place.store / "bzImage").touch()
    assert ci.as_it_should(place, "github", [("one", 0), *((step, 1) for step in failed)], passes) is good
    (place.store / "bzImage").unlink()
    assert not ci.as_it_should(place, "github", [("one", 0), *((step, 1) for step in failed)], passes)


def test_what_they_may_and_when_they_run():
    github, gitlab = (yaml.safe_load(text) for text in FILES.values())
    assert github["permissions"] == {"contents": "read"} and github["concurrency"]["cancel-in-progress"] is True
    uses = [step["uses"] for step in github["jobs"]["regress"]["steps"] if "uses" in step]
    assert len(uses) == 4 and all(re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40}", each) for each in uses)
    assert len(gitlab["cost-per-io"]["rules"]) == 2 and gitlab["cost-per-io"]["interruptible"] is True
    assert github["jobs"]["regress"]["env"]["XDG_CACHE_HOME"].startswith("/var/")
