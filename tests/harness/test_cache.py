# SPDX-License-Identifier: GPL-2.0-or-later
"""What is removed from the cache, and what is not."""

import os
import time

import pytest

from harness.build import cache, products, sources


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache of 40 days, of which some things were used since."""
    for module in (cache, products, sources):
        monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(cache, "BUILD", tmp_path / "build")
    old = time.time() - 40 * cache.DAY
    for name in ("kernel/linked/bzImage", "kernel/old/bzImage", "kernel/new/bzImage", "tree/linux-a/Makefile", "tree/.linux-b/Makefile",
                 "obj/series-a/.config", "src/fio-3.33/fio.h", "src/.extract-x/a", "scratch/debian-trixie-x/root", "ccache/0/a", "apt/lists/a"):
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 100000)
        os.utime(path.parent, (old, old))
    for name in ("tree/linux-a.of", "dl/deb", "kernel.lock", "times", "kvm"):
        path = tmp_path / "cache" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (old, old))
    (tmp_path / "build").mkdir()
    (tmp_path / "build/bzImage").symlink_to(tmp_path / "cache/kernel/linked/bzImage")
    sources.used(tmp_path / "cache/kernel/new")
    sources.used(tmp_path / "cache/src/fio-3.33")
    return tmp_path / "cache"


def names(place):
    return {str(path.relative_to(place)) for path in place.glob("*/*")} | {path.name for path in place.iterdir() if path.is_file()}


def test_what_is_used_or_linked_stays(place, capsys):
    before = names(place)
    cache.clean(30, False)
    assert before - names(place) == {"kernel/old", "tree/linux-a", "tree/linux-a.of", "tree/.linux-b", "obj/series-a", "src/.extract-x", "scratch/debian-trixie-x", "dl/deb"}
    said = capsys.readouterr().out
    assert said.count("removed ") == 7 and "MiB freed" in said
    cache.clean(30, False)
    assert capsys.readouterr().out.count("removed ") == 0


def test_days_say_how_long(place):
    cache.clean(50, False)
    assert names(place) >= {"kernel/old", "tree/linux-a", "tree/linux-a.of"} and "tree/.linux-b" not in names(place)
    cache.clean(0, False)
    assert names(place) == {"kernel/linked", "ccache/0", "apt/lists", "kernel.lock", "engine.lock", "times", "kvm"}


def test_all_is_all_but_locks(place):
    cache.clean(30, True)
    assert names(place) == {"kernel.lock", "engine.lock"}


def test_what_is_mounted_in_it_is_not_touched(place, monkeypatch, capsys):
    """Removing a root that a test runs in would remove what is bound there."""
    lines = f"1 2 3:4 / {place}/tree/linux-a/proc rw - proc proc rw\n"
    monkeypatch.setattr(cache.Path, "read_text", lambda self, **_: lines)
    assert cache.mounted(place / "tree/linux-a") and not cache.mounted(place / "tree/linux")
    cache.clean(0, False)
    assert (place / "tree/linux-a").exists() and not (place / "kernel/old").exists()
    assert "something is mounted in it" in capsys.readouterr().out


def test_what_goes_away_meanwhile_has_no_size(place):
    assert cache.size(place / "nothing") == 0 and cache.size(place / "kernel/old") > 100000


def test_durations_are_kept(place):
    assert cache.times() == {}
    cache.took("bench", 61.04)
    cache.took("list", 0.1)
    cache.took("bench short", 5)
    assert cache.times() == {"bench": 61.0, "bench short": 5}
    (place / "times").write_text("[1]")
    assert cache.times() == {}


def test_scratch_goes_with_its_user(place):
    with cache.scratch("deb") as scratch:
        assert cache.Path(scratch).parent == place / "scratch"
    assert not cache.Path(scratch).exists()
