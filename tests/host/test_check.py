# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/check.py on a made-up kernel: it names the commit, the configuration and what is said."""
import shutil
import subprocess
import sys

import pytest
from test_series import CODE, TOOL, Project, hook, put

MAKEFILE = """\
tinyconfig: ; @mkdir -p $(O) && : >$(O)/.config
olddefconfig: ; @sed -i '/=n$$/d' $(O)/.config
prepare: ; @:
%.o: FORCE ; @mkdir -p $(O)/$(@D) && gcc -Wall $$(sed -n 's/^\\(CONFIG_[A-Z_]*\\)=y/-D\\1/p' $(O)/.config) -c -o $(O)/$@ $(CURDIR)/$*.c
FORCE Makefile: ;
"""
FEATURE = "#ifdef CONFIG_FEATURE\nint feature;\n#endif\n"
OLD = "static int of_before;\n"  # which the compiler complains about in the base


@pytest.fixture
def project(tmp_path) -> Project:
    made = Project.__new__(Project)
    made.root, made.kernel, made.base, made.lk = tmp_path, tmp_path / "kernel", tmp_path / "base", tmp_path / "lk"
    put(made.base, "Makefile", MAKEFILE)
    put(made.base, ".gitignore", "*.o\n")
    put(made.base, "io_uring/rsrc.c", CODE + OLD)
    put(made.base, "block/bio.c", CODE)
    put(made.base, "block/Makefile", "obj-y += bio.o\n")
    put(made.base, "io_uring/Makefile", "obj-y += rsrc.o\n")
    put(made.base, "io_uring/Kconfig", "")
    for name, text in (("scripts/kconfig/merge_config.sh", 'cp "$5" "$4"'),
                       ("scripts/kernel-doc", 'shift 2; grep -Hn "kernel-doc is wrong" "$@" | sed "s/$/ warning/"; :')):
        put(made.base, name, f"#!/bin/sh\n{text}\n")
        (made.base / name).chmod(0o755)
    made.kernel.mkdir()
    for name in ("series.py", "check.py"):
        shutil.copy(TOOL.with_name(name), made.kernel)
    put(made.kernel, "configs/base.config", "CONFIG_BASE=y\n")
    put(made.kernel, "configs/series.config", "")
    made.run("tree", "--base", made.base, "--out", made.lk)
    return made


def commits(project: Project, second: str, third: str = "int third;\n", only: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Three, of which the first brings the feature; and what the check says."""
    put(project.lk, "io_uring/Kconfig", "config FEATURE\n")
    put(project.lk, "io_uring/Makefile", "obj-y += rsrc.o\nobj-$(CONFIG_FEATURE) += dmabuf.o\n")
    project.commit("io_uring: a feature", dmabuf=FEATURE)
    project.commit("io_uring: hook it up", rsrc=CODE + OLD + second)
    project.commit("block: and there", bio=hook(CODE, 5, third.strip()))
    project.export()
    return subprocess.run([sys.executable, project.kernel / "check.py", "--tree", project.lk, "--out", project.root / "check",
                           *(("--commits", *only) if only else ())], capture_output=True, text=True)


def test_a_clean_series_is_said_to_be(project: Project):
    done = commits(project, "int second;\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0001 io_uring: a feature: x86_64 on, 3 objects: clean\n" in done.stdout
    assert "0001 io_uring: a feature: x86_64 off, 2 objects: clean\n" in done.stdout
    assert done.stdout.count(" objects: clean\n") == 6 and "kernel-doc: clean\n" in done.stdout and "of_before" not in done.stdout


def test_what_does_not_build_without_the_feature_is_named(project: Project):
    done = commits(project, "#ifdef CONFIG_FEATURE\nint only_with;\n#endif\nint second(void) { return only_with; }\n")
    assert done.returncode == 1
    assert "0002 io_uring: hook it up: x86_64 on, 3 objects: clean\n" in done.stdout
    assert "0002 io_uring: hook it up: x86_64 off, 2 objects: \n  io_uring/rsrc.c: error: " in done.stdout
    assert "only_with" in done.stdout and "0001 io_uring: a feature: x86_64 off, 2 objects: clean" in done.stdout


def test_a_warning_is_told_once_by_who_brings_it(project: Project):
    done = commits(project, "static int unused;\n")
    assert done.returncode == 1 and done.stdout.count("'unused' defined but not used") == 2  # on and off
    assert "0003 block: and there: x86_64 on, 3 objects: clean\n" in done.stdout


def test_a_commit_by_itself_is_compared_with_the_one_before_it(project: Project):
    done = commits(project, "static int of_second;\n", "static int of_third;\nint third;", only=("3",))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0003 block: and there: x86_64 on, 3 objects: \n  block/bio.c: " in done.stdout
    assert done.stdout.count("'of_third' defined but not used") == 2  # on and off
    assert "0002" not in done.stdout and "of_second" not in done.stdout and "of_before" not in done.stdout
    none = subprocess.run([sys.executable, project.kernel / "check.py", "--tree", project.lk, "--out", project.root / "check", "--commits", "4"],
                          capture_output=True, text=True)
    assert none.returncode == 1 and "there is no commit 4: they are 1 to 3" in none.stderr


def test_kernel_doc_counts(project: Project):
    done = commits(project, "int second; /* kernel-doc is wrong */\n")
    assert done.returncode == 1 and "kernel-doc: \n  io_uring/rsrc.c: " in done.stdout


def test_pages_count(project: Project):
    if not shutil.which("sphinx-build"):
        pytest.skip("no sphinx-build: install python3-sphinx")
    put(project.lk, "Documentation/sphinx/kerneldoc.py", "def setup(app):\n    for name in ('srctree', 'bin'):\n        app.add_config_value(f'kerneldoc_{name}', '', '')\n")
    put(project.lk, "Documentation/page.rst", "A title\n=====\n")
    done = commits(project, "int second;\n")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "pages: \n  Documentation/page.rst: index.rst:2: WARNING: Title underline too short.\n" in done.stdout


def test_the_developers_tree_is_left_alone(project: Project):
    before = project.git("rev-parse", "HEAD")
    commits(project, "int second;\n")
    put(project.lk, "io_uring/rsrc.c", "not saved\n")
    subprocess.run([sys.executable, project.kernel / "check.py", "--tree", project.lk, "--out", project.root / "check"], check=True, capture_output=True)
    assert (project.lk / "io_uring/rsrc.c").read_text() == "not saved\n" and project.git("rev-parse", "HEAD~3") == before
