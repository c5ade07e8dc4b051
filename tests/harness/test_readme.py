# SPDX-License-Identifier: GPL-2.0-or-later
"""README.md: its figures are those of the record that it names, its links lead somewhere, make takes its commands."""

import os
import re
import shlex
import subprocess

import pytest
import readme
import readme_commands

from harness.build import sources
from harness.paths import CACHE, ROOT
from harness.record import schema, store

TEXT = readme.README.read_text()
RUN = readme.run_of(TEXT)
DOCUMENTS = sorted(path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("jobs/*.md"),
                                                                *ROOT.glob("results/*.md")))


@pytest.fixture(scope="module")
def result():
    return store.load(store.find(str(ROOT / "results" / RUN), schema.OF_BENCH), schema.OF_BENCH)


def test_the_figures_are_those_of_the_record(result):
    assert len(readme.BLOCK.findall(TEXT)) == len(readme.BLOCKS)
    assert readme.written(TEXT, result) == TEXT, "tests/harness/readme.py writes them again"


def test_another_record_would_be_seen(result):
    """The comparison above can fail: each block with figures follows the record."""
    other = result | {"cost": [row | {"instructions_per_io": row["instructions_per_io"] * 1.01} for row in result["cost"]],
                      "operations": [row | {"map_per_io": row["map_per_io"] + 1} for row in result["operations"]]}
    assert readme.first(other) != readme.first(result) and readme.table(other) != readme.table(result)
    other["cost"] = [row | {"instructions_per_io": row["instructions_per_io"] * row["round"]} for row in result["cost"]]
    other["speed"] = [row | {"iops": row["iops"] * (2 if row["registration"] == "dmabuf" else 1) * row["round"]} for row in result["speed"]]
    assert all(mine != theirs for mine, theirs in zip(readme.noise(other), readme.noise(result)) if mine)


@pytest.mark.parametrize("path", [path for path in readme.OF_HISTORY if path.exists()], ids=lambda path: path.name)
def test_the_figures_of_other_documents_are_those_of_their_record(path):
    text = path.read_text()
    name, = set(readme.COMMIT.findall(text))
    result = readme.history(name)
    assert readme.BLOCK.search(text) and readme.written(text, result, readme.OTHERS) == text, "tests/harness/readme.py writes them again"
    other = result | {"cells": [cell | {"rounds": [cost * 1.01 for cost in cell["rounds"]]} for cell in result["cells"]]}
    assert readme.written(text, other, readme.OTHERS) != text


def test_no_figure_stands_outside():
    """What has thousands or decimals is a measurement, or a version."""
    rest = readme.BLOCK.sub("", TEXT)
    versions = {sources.base()["version"], *re.findall(r"\d+\.\d+", sources.base()["version"]), sources.FIO_VERSION, "7.2", "2.0"}
    assert set(re.findall(r"\d+(?:[.,]\d+)+", rest)) <= versions


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a tree that is no checkout")
def test_git_keeps_the_record_that_is_shown():
    ignored = readme.IGNORE.read_text()
    assert readme.NAMED.findall(ignored) and set(readme.NAMED.findall(ignored)) == {RUN}
    for name in ("run.json", "table.txt", readme.picture(TEXT).name):
        done = subprocess.run(["git", "check-ignore", "-q", f"results/{RUN}/{name}"], cwd=ROOT)
        assert done.returncode == 1 and (ROOT / "results" / RUN / name).exists()


def test_versions_are_those_that_are_built():
    assert set(re.findall(r"Linux (\d[\d.]*\d)", TEXT)) == {sources.base()["version"]}
    assert set(re.findall(r"fio (\d[\d.]*\d)", TEXT)) == {sources.FIO_VERSION}


def anchor(title):
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        path, _, place = "".join(target).partition("#")
        assert "://" not in path, f"{target}: a page of others may go"
        there = (ROOT / document).parent / path if path else ROOT / document
        assert there.exists(), target
        assert not place or place in map(anchor, re.findall(r"^#+ (.*)$", there.read_text(), re.M)), target


def test_the_first_screen_answers():
    """What is it, for whom; what does it win; what does it not; what does it need; how do I try it: in 45 lines."""
    screen = "\n".join(TEXT.splitlines()[:45])
    assert screen.count("\n|") == 5 and len(re.findall(r"\*\*(measured here|published)\*\*", screen)) == 3
    assert len(re.findall(r"^\* \*\*", screen, re.M)) == 3 and '.svg" width=' in screen
    assert all(word in screen for word in ("For people who", "Debian 12", "root", "GB of memory", "of disk", "mirror", "minutes", "make doctor", "make guest-run"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_sentences_are_short(document):
    """Not one of more than 40 words, outside of tables and commands."""
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.S)
    prose = " ".join(line for line in text.splitlines() if not re.match(r"\s*\||    |#|<!--|<img", line))
    long = [sentence for sentence in re.split(r"(?<=[.:;?])\s", prose) if len(sentence.split()) > 40]
    assert not long


def test_what_a_command_is_for_can_be_read_beside_it():
    """A page shows about so many columns of a command, unless one scrolls."""
    assert max(len(line) for line in TEXT.splitlines() if line.startswith("    ") and " # " in line) <= 99


def test_each_command_has_its_way_to_be_shown():
    assert set(readme_commands.commands(TEXT)) == set(readme_commands.WAYS)


@pytest.mark.parametrize("command", [each for each in readme_commands.WAYS if each.startswith("make ")])
def test_make_takes_the_command(command):
    done = subprocess.run(["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_times_are_those_of_make_help():
    makefile = (ROOT / "Makefile").read_text()
    for verb, minutes in re.findall(r"^    make (\S+) +# (\d+) minutes", TEXT, re.M):
        assert f"{verb}: ## [{minutes}:00]" in makefile
    assert re.search(r"^    make bench +# \d+ minutes", TEXT, re.M)


def test_the_example_is_as_long_as_it_is_said_to_be():
    said = int(re.search(r"(\d+) lines of C", TEXT)[1])
    assert abs(len((ROOT / "examples/read.c").read_text().splitlines()) - said) <= 5


def test_limits_of_udmabuf_are_those_of_the_kernel():
    files = sorted((CACHE / "src").glob("linux-*/drivers/dma-buf/udmabuf.c"), key=os.path.getmtime)
    if not files:
        pytest.skip("no kernel source in the cache: `make sources` gets it")
    source = files[-1].read_text()
    assert "size_limit_mb = INT_MAX" in source and re.search(r"by default there is no limit", TEXT)
    assert re.search(r"list_limit = (\d+);", source)[1] == re.search(r"may have (\d+) of\s+them", TEXT)[1]
    for path in (path for place in ("", "docs", "engines", "examples", "kernel", "tests") for path in (ROOT / place).glob("*.[m78]*")):
        assert not re.search(r"size_limit_mb[^.]*64", path.read_text()), path
