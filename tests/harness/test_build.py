# SPDX-License-Identifier: GPL-2.0-or-later
"""What a configuration loses, what kernel/BASE says, which source is refused."""

import shutil
import tarfile
from pathlib import Path

import pytest

from harness.build import products, sources
from harness.fault import Fault

CONFIG = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_HZ=100\n"


@pytest.mark.parametrize("requested, lost", (
    ("CONFIG_A=y\nCONFIG_HZ=100\n", []),
    ("CONFIG_B=y\n", ["CONFIG_B=y"]),
    ("CONFIG_C=y\n", ["CONFIG_C=y"]),
    ("CONFIG_B=n\nCONFIG_D=n\n", []),
    ("CONFIG_A=n\n", ["CONFIG_A=n"]),
    ("# CONFIG_D=y\n", []),
))
def test_symbols_that_did_not_survive(requested, lost):
    assert products.lost_symbols(requested, CONFIG) == lost


def test_base_names_what_the_sources_need():
    assert {"version", "debian-suite", "debian-package", "debian-version", "debian-tarball", "debian-sha256",
            "upstream-tarball"} <= set(sources.base())


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(sources, "SPACE_NEEDED", 0)
    top = tmp_path / "linux"
    top.mkdir()
    numbers = sources.base()["version"].split(".")
    (top / "Makefile").write_text("".join(f"{name} = {number}\n" for name, number in
                                          zip(("VERSION", "PATCHLEVEL", "SUBLEVEL"), numbers)))
    return top


def test_a_tree_by_name_is_used_as_it_is(tree):
    assert sources.kernel(str(tree)).tree == tree


def test_a_tree_by_name_is_keyed_by_what_is_in_it(tree, capsys):
    """An edit makes another kernel; where it is built is the same place. A copy elsewhere is the same kernel."""
    (tree / "lib").mkdir()
    (tree / "lib/a.c").write_text("first")
    (tree / ".git").mkdir()
    first = sources.kernel(str(tree))
    assert capsys.readouterr().out.count("reading") == 1
    (tree / ".git/index").write_text("not part of it")
    assert sources.kernel(str(tree)) == first and capsys.readouterr().out == ""
    edits = [lambda: (tree / "lib/a.c").write_text("other"), lambda: (tree / "lib/b.c").symlink_to("a.c"),
             lambda: (tree / "lib/a.c").chmod(0o755), lambda: (tree / "lib/a.c").rename(tree / "lib/c.c")]
    names = {first.name}
    for edit in edits:
        edit()
        source = sources.kernel(str(tree))
        assert source.place == first.place and source.name not in names
        names.add(source.name)
    shutil.copytree(tree, tree.parent / "copy", symlinks=True)
    copy = sources.kernel(str(tree.parent / "copy"))
    assert copy.name == source.name and copy.place != source.place


def test_the_tree_that_is_built_follows_the_one_that_was_edited(tree, monkeypatch):
    monkeypatch.setattr(products, "CACHE", sources.CACHE)
    monkeypatch.setattr(products, "SERIES", Path("/dev/null"))  # does nothing
    (tree / "gone.c").touch()
    (tree / "a.c").write_text("first")
    built = products.kernel_tree(sources.kernel(str(tree)))
    (built / "by-the-series.c").touch()
    assert products.kernel_tree(sources.kernel(str(tree))) == built and (built / "by-the-series.c").exists()
    (tree / "a.c").write_text("second")
    (tree / "gone.c").unlink()
    assert products.kernel_tree(sources.kernel(str(tree))) == built
    assert (built / "a.c").read_text() == "second" and not (built / "gone.c").exists()
    assert (built / "a.c").stat().st_mtime_ns == (tree / "a.c").stat().st_mtime_ns


def test_a_machine_without_apt_is_told_to_name_sources(tree, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Fault, match="KERNEL_SRC="):
        sources.kernel()
    with pytest.raises(Fault, match="FIO_SRC="):
        sources.fio()


def test_a_tarball_by_name_is_unpacked_once(tree, capsys):
    tarball = tree.parent / "linux.tar"
    with tarfile.open(tarball, "w") as tar:
        tar.add(tree, "linux-7.3.4")
    first = sources.kernel(str(tarball))
    assert (first.tree / "Makefile").read_text() == (tree / "Makefile").read_text()
    assert sources.kernel(str(tarball)) == first
    assert capsys.readouterr().out.count("unpacking linux.tar (0 MiB): done") == 1


def test_another_version_is_refused(tree):
    (tree / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 0\n")
    with pytest.raises(Fault, match="6.1.0"):
        sources.kernel(str(tree))


def test_a_broken_archive_leaves_nothing(tree):
    broken = tree.parent / "broken.tar.xz"
    broken.write_bytes(b"no archive")
    with pytest.raises(Fault, match="unpacking"):
        sources.kernel(str(broken))
    assert list((sources.CACHE / "src").iterdir()) == []


def test_a_full_disk_is_said_before_it_is_filled(tree, monkeypatch):
    monkeypatch.setattr(sources, "SPACE_NEEDED", 1 << 60)
    with pytest.raises(Fault, match="make room"):
        sources.room()


def test_no_source_anywhere_names_the_remedy(tree, monkeypatch):
    def unreachable(*_, **__):
        raise Fault("offline")
    monkeypatch.setattr(sources, "apt", unreachable)
    monkeypatch.setattr(sources.progress, "run", unreachable)
    with pytest.raises(Fault, match="KERNEL_SRC="):
        sources.kernel()


def test_a_link_is_replaced_in_one_step(tmp_path, monkeypatch):
    monkeypatch.setattr(products, "BUILD", tmp_path)
    for target in ("first", "second"):
        (tmp_path / target).write_text(target)
        assert products.link("bzImage", tmp_path / target).read_text() == target
