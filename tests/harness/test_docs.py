# SPDX-License-Identifier: GPL-2.0-or-later
"""All documents: verbs and variables that make has, paths and tests that exist.  What of it is run: readme_commands.py."""

import re
import shlex
import subprocess

import pytest
import readme_commands

from harness.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
VERBS = set(re.findall(r"^([a-z0-9-]+):.*##", MAKEFILE, re.M)) | {"help"}
SOURCES = re.search(r"^SOURCES = (.*)$", MAKEFILE, re.M)[1].split()
GUEST = re.search(r"^GUEST = (.*)$", MAKEFILE, re.M)[1].split()
TAKES = {verb: set(names.replace("$(SOURCES)", " ".join(SOURCES)).replace("$(GUEST)", " ".join(GUEST)).split())
         for verb, names in re.findall(r"^([a-z0-9-]+)\.takes = (.*)$", MAKEFILE, re.M)}
DOCUMENTS = sorted(path.relative_to(ROOT) for path in ROOT.glob("**/*.md")
                   if path.relative_to(ROOT).parts[0] not in ("build", "results") or path.name == "README.md" and path.parent.name == "results")
TOP = "engines kernel jobs harness results tests docs examples packaging .ci".split()
# Stand for something, or are made by a run.
PLACEHOLDER = re.compile(r"[A-Z]{3,}|NNNN|<|\$|\.\.\.|results/(20|\*)|:")
PROGRAM = re.compile(r"\b([a-z_]+) \(\"([^\"]*)\"")
PROGRAMS = {path.stem: path.read_text() for path in (ROOT / "tests/kernel").glob("*.c")}


def words_of(command):
    """As a shell would see them; what ends a command is a word of its own."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def makes(text):
    """Each `make ...` as a list of words, from code of both kinds."""
    code = [*re.findall(r"`(make [^`]*)`", text), *(line for line in readme_commands.commands(text) if "make " in line)]
    for command in code:
        words = words_of(command + "'" * (command.count("'") % 2))
        for place in (place for place, word in enumerate(words) if word == "make"):
            rest = words[place + 1:]
            end = next((n for n, word in enumerate(rest) if re.fullmatch(r"[;|&()<>]+", word)), len(rest))
            yield rest[:end]


def unknown(words):
    """What make would not take."""
    if words[:1] == ["-C"] or words[:2] == ["-s", "-C"]:
        return [] if (ROOT / words[words.index("-C") + 1]).is_dir() else words
    verbs = [word for word in words if "=" not in word and not word.startswith("-")]
    names = {word.partition("=")[0] for word in words if re.match(r"[A-Z0-9_]+=", word)}
    return [verb for verb in verbs if verb not in VERBS] + sorted(names - set().union(*(TAKES.get(verb, set()) for verb in verbs)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_make_has_what_is_typed(document):
    found = {" ".join(words): unknown(words) for words in makes((ROOT / document).read_text())}
    assert {command: wrong for command, wrong in found.items() if wrong} == {}


def test_what_make_has_not_is_seen():
    text = "`make bench MODE=lazy` and\n\n    make -s -C nowhere O=x\n    make frobnicate   # not\n    make bench JOBS='a b'\n"
    assert [unknown(words) for words in makes(text)] == [["MODE"], ["-s", "-C", "nowhere", "O=x"], ["frobnicate"], []]


def paths(text):
    for code in re.findall(r"`([^`\n]+)`", text):
        for word in code.split():
            word = word.strip("(),;'\"").removeprefix("./")
            if word.split("/")[0] in TOP and "/" in word and not PLACEHOLDER.search(word):
                yield word


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_paths_exist(document):
    wrong = [path for path in paths((ROOT / document).read_text())
             if not any(any(base.glob(re.sub(r"\[\d+\]|\{[^}]*\}", "*", path).rstrip("/"))) for base in (ROOT, (ROOT / document).parent))]
    assert wrong == []


def test_a_path_that_is_not_there_is_seen():
    assert list(paths("`kernel/none.c`, `make -C engines/none`, `results/RUN/x` and `block/fops.c`")) == ["kernel/none.c", "engines/none"]


def rows(text):
    """(last cell) of each row of the tables that say by what something is shown."""
    shown = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            shown = False
        elif cells[-1] == "shown by":
            shown = True
        elif shown and not line.startswith("|---"):
            yield cells[-1]


def test_each_row_of_the_comparison_has_its_test():
    cells = list(rows((ROOT / "docs/compatibility.md").read_text()))
    assert len(cells) > 30
    for cell in cells:
        named = re.findall(r"tests/[\w./]+\.py", cell)
        assert all((ROOT / name).exists() for name in named), cell
        programs = [word for word in re.findall(r"[a-z_]+", re.sub(r"\([^)]*\)", "", cell)) if word in PROGRAMS]
        assert named or programs or cell.startswith("- ("), cell


@pytest.mark.parametrize("document", ("docs/compatibility.md", "tests/README.md"))
def test_tests_that_are_quoted_say_so(document):
    wrong = []
    for program, quoted in PROGRAM.findall((ROOT / document).read_text()):
        parts = [part.strip() for part in quoted.split("...") if part.strip()]
        if program in PROGRAMS and not all(part in PROGRAMS[program] for part in parts):
            wrong.append((program, quoted))
    assert wrong == []


def test_each_command_of_working_on_it_is_shown_or_said_why_not():
    text = (ROOT / "docs/hacking.md").read_text()
    assert set(readme_commands.commands(text)) == set(readme_commands.HACKING)


def test_versions_agree():
    """CHANGELOG.md with the package; the cover letter has a version of its own."""
    package = re.match(r"\S+ \((.*?)\)", (ROOT / "packaging/debian/changelog").read_text())[1]
    titles = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert titles[0] in ("Not released", package) and package in titles[:2]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a tree that is no checkout")
def test_a_tarball_is_the_commit(tmp_path):
    """Named by the commit where it has no tag, by the version alone where it has; make works in it."""
    subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(tmp_path / "clone")], check=True)

    def dist():
        return subprocess.run(["make", "dist"], cwd=tmp_path / "clone", capture_output=True, text=True, check=True).stdout.strip()

    package = re.match(r"\S+ \((.*?)\)", (ROOT / "packaging/debian/changelog").read_text())[1]
    assert re.fullmatch(rf"build/dmabuf-bench-{re.escape(package)}\+g[0-9a-f]{{12}}\.tar\.gz", dist())
    subprocess.run(["git", "tag", f"v{package}"], cwd=tmp_path / "clone", check=True)
    name = dist()
    assert name == f"build/dmabuf-bench-{package}.tar.gz"
    subprocess.run(["tar", "-x", "-C", str(tmp_path), "-f", str(tmp_path / "clone" / name)], check=True)
    assert "Measure" in subprocess.run(["make", "help"], cwd=tmp_path / f"dmabuf-bench-{package}", capture_output=True, text=True, check=True).stdout
