# SPDX-License-Identifier: GPL-2.0-or-later
"""Two records side by side: of the history, and of runs."""

import copy
import gzip
import json
import subprocess
import sys

import pytest
import test_bench
import test_cost

from harness import compare
from harness.fault import Fault
from harness.paths import ROOT


@pytest.fixture
def base(data):
    return json.loads(gzip.decompress((data / "record.json.gz").read_bytes()))


def test_a_record_repeats_itself(base):
    text, worst = compare.render(base, copy.deepcopy(base))
    assert worst == 0 and "one build of the kernel" in text and "of 12 cells: 0.000%" in text and "; 0 beyond" in text


def test_what_does_not_repeat_is_named(base):
    other = copy.deepcopy(base)
    other["cells"][3]["rounds"] = [value * 1.003 for value in other["cells"][3]["rounds"]]
    text, worst = compare.render(base, other)
    assert worst == pytest.approx(0.003) and "(strict read-1m dmabuf); 1 beyond 0.2%" in text


def test_other_kernels_are_said_to_be_others(base):
    other = copy.deepcopy(base)
    other["made_of"]["kernel"]["made_from"]["series_sha256"] = "other"
    assert "DIFFERENT kernels" in compare.render(base, other)[0]


def test_runs_of_bench_and_cost_have_cells_too():
    assert compare.cells(test_bench.record())["strict randread-4k user"] == 7000
    assert compare.cells(test_cost.result())["strict read-4k dmabuf"] == 2000
    with pytest.raises(Fault, match="no cell in common"):
        compare.render(test_bench.record(), test_cost.result())


def test_the_status_is_the_verdict(base, tmp_path):
    other = copy.deepcopy(base)
    other["cells"][0]["rounds"] = [value * 0.997 for value in other["cells"][0]["rounds"]]
    for name, each in (("a", base), ("b", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(json.dumps(each))

    def status(*words):
        return subprocess.run([sys.executable, "-m", "harness", "compare", *map(str, words)], cwd=ROOT, capture_output=True).returncode
    assert status(tmp_path / "a", tmp_path / "a/record.json") == 0
    assert status(tmp_path / "a", tmp_path / "b") == 1
    assert status(tmp_path / "a", tmp_path / "nothing") == 240
