# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/series.py on a made-up kernel of three files."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "kernel/series.py"
CODE = "".join(f"int line{n};\n" for n in range(40))
ENV = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "Ann Ä. Author", "GIT_AUTHOR_EMAIL": "ann@example.org",
       "GIT_COMMITTER_NAME": "Com Mitter", "GIT_COMMITTER_EMAIL": "com@example.org", "GIT_AUTHOR_DATE": "2026-03-04T05:06:07+0200"}


class Project:
    """A copy of the tool, a base tree and a worktree of it, in one directory."""

    def __init__(self, root: Path):
        self.root, self.kernel, self.base, self.lk = root, root / "kernel", root / "base", root / "lk"
        put(self.base, "Makefile", "VERSION = 7\n")
        put(self.base, ".gitignore", "*.o\n")
        put(self.base, "io_uring/rsrc.c", CODE)
        put(self.base, "block/bio.c", CODE)
        self.kernel.mkdir()
        shutil.copy(TOOL, self.kernel)
        self.run("tree", "--base", self.base, "--out", self.lk)

    def run(self, *args) -> str:
        done = subprocess.run([sys.executable, self.kernel / "series.py", *args], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *args) -> str:
        """The error sentence of a run that must fail, and fail with nothing else."""
        done = subprocess.run([sys.executable, self.kernel / "series.py", *args], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("series.py: ") and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def git(self, *args) -> str:
        return subprocess.run(["git", "-C", self.lk, *args], env=ENV, check=True, capture_output=True, text=True).stdout

    def commit(self, subject: str, **files: str) -> None:
        for name, text in files.items():
            put(self.lk, NAMES[name], text)
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "-s", "-m", subject, "-m", "Because.")

    def export(self) -> str:
        return self.run("export", "--tree", self.lk)

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.kernel)): path.read_bytes() for path in self.kernel.rglob("*")
                if path.is_file() and path.name != "series.py"}


NAMES = {"rsrc": "io_uring/rsrc.c", "bio": "block/bio.c", "dmabuf": "io_uring/dmabuf.c", "header": "include/uapi/dmabuf.h", "bare": "bare.h",
         "empty": "empty.h"}


def put(tree: Path, name: str, text: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(text)


def hook(text: str, after: int, line: str) -> str:
    return text.replace(f"int line{after};\n", f"int line{after};\n{line}\n")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def series(project: Project) -> Project:
    project.commit("io_uring/dmabuf: add the header, with a subject long enough for format-patch to fold: é",
                   header="#define A\n", bare="no newline at the end", empty="")
    project.commit("io_uring/dmabuf: add registered dma-bufs", dmabuf="int x;\n\nint y;\n", rsrc=hook(CODE, 20, "int hook;"))
    project.commit("block: let dma-bufs through", bio=hook(CODE, 5, "int dma;"), rsrc=hook(hook(CODE, 20, "int hook;"), 30, "int more;"))
    project.export()
    return project


def test_export_splits_new_files_from_hooks(series: Project):
    assert sorted(series.files()) == [
        "overlay/bare.h", "overlay/empty.h", "overlay/include/uapi/dmabuf.h", "overlay/io_uring/dmabuf.c",
        "series/0001-io_uring-dmabuf-add-the-header-with-a-subject-long-e.patch",
        "series/0002-io_uring-dmabuf-add-registered-dma-bufs.patch", "series/0003-block-let-dma-bufs-through.patch"]
    mail = series.files()["series/0002-io_uring-dmabuf-add-registered-dma-bufs.patch"].decode()
    assert "\n---\noverlay: io_uring/dmabuf.c\n\ndiff --git a/io_uring/rsrc.c " in mail
    assert "+int hook;\n" in mail and "int x;" not in mail


def test_composed_mails_are_what_git_would_send(series: Project):
    """Compared with git format-patch itself, and applied by a plain git am."""
    sent = series.git("format-patch", "--stdout", "--zero-commit", "--no-signature", "-N", "--full-index", "--no-stat", "-p", "base..HEAD")
    series.run("compose", "-o", series.root / "mbox")
    mbox = (series.root / "mbox").read_text()
    assert mbox == series.run("compose")
    assert [line for line in mbox.splitlines() if line not in ("", "---")] == [line for line in sent.splitlines() if line not in ("", "---")]
    want = series.git("rev-parse", "HEAD^{tree}")
    series.git("reset", "-q", "--hard", "base")
    series.git("am", "-q", str(series.root / "mbox"))
    assert series.git("rev-parse", "HEAD^{tree}") == want


def test_round_trip_is_byte_stable(series: Project):
    before = series.files()
    assert "7 files, byte for byte" in series.run("check", "--base", series.base)
    series.run("tree", "--base", series.base, "--out", series.root / "again")
    assert series.run("export", "--tree", series.root / "again") == ""
    assert series.files() == before


def test_check_names_what_the_round_trip_would_change(series: Project):
    mail = next((series.kernel / "series").glob("0003*"))
    mail.write_text(mail.read_text().replace("\n---\n", "\n---\nv2: better\n"))
    assert mail.name in series.refused("check", "--base", series.base)


def test_apply_writes_only_what_differs(series: Project):
    out = series.root / "out"
    shutil.copytree(series.base, out)
    assert "6 files differ from the base, 6 written" in series.run("apply", "--base", series.base, "--out", out)
    for name in NAMES.values():
        assert (out / name).read_bytes() == (series.lk / name).read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.[ch]")}
    assert "0 written" in series.run("apply", "--base", series.base, "--out", out)
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("*.[ch]")}
    put(series.kernel, "overlay/include/uapi/dmabuf.h", "#define B\n")
    assert "1 written" in series.run("apply", "--base", series.base, "--out", out)


def test_apply_takes_back_what_the_series_dropped(series: Project):
    out = series.root / "out"
    shutil.copytree(series.base, out)
    series.run("apply", "--base", series.base, "--out", out)
    series.git("reset", "-q", "--hard", "HEAD~2")
    assert "removed series/0003-block-let-dma-bufs-through.patch" in series.export()
    series.run("apply", "--base", series.base, "--out", out)
    assert (out / "io_uring/rsrc.c").read_text() == CODE == (out / "block/bio.c").read_text()
    assert not (out / "io_uring/dmabuf.c").exists() and (out / "include/uapi/dmabuf.h").exists()


def test_hooks_counts_added_lines(series: Project):
    assert series.run("hooks").splitlines()[2:] == [
        "| block/bio.c | 1 | 0003-block-let-dma-bufs-through.patch |",
        "| io_uring/rsrc.c | 1 | 0002-io_uring-dmabuf-add-registered-dma-bufs.patch |",
        "| io_uring/rsrc.c | 1 | 0003-block-let-dma-bufs-through.patch |"]


COVER = """<!-- a comment -->
dma-bufs: a subject

What and why.

<!-- figures x -->
 4,096
<!-- /figures -->

Changelog
=========

v2:
- Better.

v1:
- First.
"""


@pytest.fixture
def covered(series: Project) -> Project:
    (series.kernel / "cover-letter.txt").write_text(COVER)
    (series.kernel / "BASE").write_text("# comment\nversion 7.3.4\ntag v7.3.4\n")
    return series


def test_mails_can_be_sent_and_applied(covered: Project):
    """With a cover letter first, numbered, each with its diffstat; git am makes the same tree of them."""
    out = covered.root / "mails"
    assert "3 mails, v2" in covered.run("mails", "--base", covered.base, "--out", out)
    cover, *sent = sorted(out.iterdir())
    assert cover.name == "v2-0000-cover-letter.patch" and len(sent) == 3
    text = cover.read_text()
    assert "\nSubject: [PATCH v2 0/3] dma-bufs: a subject\n" in text and "\nWhat and why.\n\n 4,096\n\nChangelog\n" in text
    assert "figures" not in text and "***" not in text and "The base is Linux 7.3.4 (v7.3.4)." in text
    assert "From: Ann Ä. Author <ann@example.org>" in text and " (3):\n  io_uring/dmabuf: add the header" in text
    assert re.search(r"\n io_uring/rsrc\.c +\| +2 \+\+\n", text) and " 6 files changed" in text
    assert "[PATCH v2 2/3] io_uring/dmabuf: add registered dma-bufs" in sent[1].read_text() and "\n 2 files changed, 4 insertions(+)\n" in sent[1].read_text()
    want = covered.git("rev-parse", "HEAD^{tree}")
    covered.git("reset", "-q", "--hard", "base")
    covered.git("am", "-q", *(str(path) for path in sent))
    assert covered.git("rev-parse", "HEAD^{tree}") == want


def test_mails_of_before_are_gone(covered: Project):
    out = covered.root / "mails"
    covered.run("mails", "--base", covered.base, "--out", out)
    covered.git("reset", "-q", "--hard", "HEAD~1")
    covered.export()
    covered.run("mails", "--base", covered.base, "--out", out)
    assert len(list(out.iterdir())) == 3
    assert "more than mails" in covered.refused("mails", "--base", covered.base, "--out", covered.kernel)


def test_a_mail_that_is_too_large_is_named(covered: Project):
    covered.commit("block: everything", bio=hook(hook(CODE, 5, "int dma;"), 7, "int x;\n" * 400))
    covered.export()
    assert "0004-block-everything.patch changes 401 lines" in covered.run("mails", "--base", covered.base, "--out", covered.root / "mails")


@pytest.mark.parametrize("text, instead, says", [("v2:", "v3:", "newest `vN:` first"), ("a subject\n", "a subject\nof two lines\n", "a subject in a paragraph"),
                                                 ("What and why.", "What and why. " * 8, "more than 76 columns")])
def test_a_cover_letter_that_is_not_one_is_refused(covered: Project, text: str, instead: str, says: str):
    (covered.kernel / "cover-letter.txt").write_text(COVER.replace(text, instead))
    assert says in covered.refused("mails", "--base", covered.base, "--out", covered.root / "mails")


def test_the_mails_apply_to_the_real_base(tmp_path: Path):
    """To those of its files that they touch."""
    sys.path.insert(0, str(TOOL.parents[1]))
    from harness.build import sources
    base = sources.CACHE / "src" / f"linux-{sources.base()['debian-sha256'][:16]}"
    if not base.exists():
        pytest.skip("no kernel source in the cache: `make sources` gets it")
    subprocess.run([sys.executable, TOOL, "mails", "--base", base, "--out", tmp_path / "mails"], check=True)
    sent = sorted(path for path in (tmp_path / "mails").iterdir() if "cover-letter" not in path.name)
    subprocess.run([sys.executable, TOOL, "apply", "--base", base, "--out", tmp_path / "want"], check=True)
    names = [name for name in (tmp_path / "want/.series-state").read_text().splitlines()]
    for name in names:
        if (base / name).exists():
            put(tmp_path / "git", name, "")
            shutil.copy(base / name, tmp_path / "git" / name)
    for command in (("init", "-q"), ("add", "-A", "-f"), ("commit", "-q", "-m", "base"), ("am", "-q", *map(str, sent))):
        subprocess.run(["git", "-C", str(tmp_path / "git"), *command], env=ENV, check=True)
    assert all((tmp_path / "git" / name).read_bytes() == (tmp_path / "want" / name).read_bytes() for name in names) and len(names) > 40


def test_orphan_overlay_file_is_refused(series: Project):
    put(series.kernel, "overlay/lib/orphan.c", "int o;\n")
    assert "no mail names overlay file lib/orphan.c" in series.refused("compose")


def test_missing_overlay_file_is_refused(series: Project):
    (series.kernel / "overlay/io_uring/dmabuf.c").unlink()
    assert "io_uring/dmabuf.c, which is not there" in series.refused("compose")


def test_hunk_that_does_not_apply_names_mail_and_file(series: Project):
    put(series.base, "io_uring/rsrc.c", CODE.replace("int line20;", "int other;"))
    error = series.refused("apply", "--base", series.base, "--out", series.root / "out")
    assert "0002-io_uring-dmabuf-add-registered-dma-bufs.patch does not apply" in error and "io_uring/rsrc.c" in error
    assert not (series.root / "out").exists()


def test_apply_spares_a_developers_tree(series: Project):
    assert "developer's tree" in series.refused("apply", "--base", series.base, "--out", series.lk)


def test_base_must_be_pristine(series: Project):
    series.run("apply", "--base", series.base, "--out", series.root / "out")
    shutil.copy(series.base / "Makefile", series.root / "out")
    assert "not a pristine kernel tree" in series.refused("check", "--base", series.root / "out")
    put(series.base, "io_uring/dmabuf.c", "")
    assert "already has" in series.refused("check", "--base", series.base)


def test_later_commit_touching_an_added_file_names_the_one_to_fold_into(series: Project):
    before = series.files()
    series.commit("io_uring/dmabuf: fix it", dmabuf="int x;\n\nint z;\n")
    error = series.refused("export", "--tree", series.lk)
    assert f"--fixup={series.git('rev-parse', '--short', 'HEAD~2').strip()}" in error
    assert series.files() == before


@pytest.mark.parametrize("ignore", ["*.o\n", "*.o\n/*\n"])
def test_dirty_tree_is_refused(series: Project, ignore: str):
    """Debian's .gitignore hides new files from git status; export sees them all the same."""
    series.git("reset", "-q", "--hard", "base")
    put(series.lk, ".gitignore", ignore)
    series.commit("gitignore", bare="bare\n")
    put(series.lk, "io_uring/build.o", "")
    series.export()
    put(series.lk, "io_uring/forgotten.c", "")
    assert "io_uring/" in series.refused("export", "--tree", series.lk)
    (series.lk / "io_uring/forgotten.c").unlink()
    put(series.lk, "io_uring/rsrc.c", "changed\n")
    assert "io_uring/rsrc.c" in series.refused("export", "--tree", series.lk)


def test_message_that_git_am_would_cut_is_refused(project: Project):
    project.commit("io_uring: x\n\n---\nnot a body", bare="x\n")
    assert "git am would cut it" in project.refused("export", "--tree", project.lk)


def test_empty_commit_is_refused(project: Project):
    project.git("commit", "-q", "--allow-empty", "-m", "nothing")
    assert "changes nothing" in project.refused("export", "--tree", project.lk)
