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

from harness.fault import Fault
from harness.judge import compare
from harness.paths import ROOT


@pytest.fixture
def base(data):
    return json.loads(gzip.decompress((data / "record.json.gz").read_bytes()))


def test_a_record_repeats_itself(base):
    text, worst = compare.text(base, copy.deepcopy(base))
    assert worst == 0 and "one build of the kernel" in text and "of 12 cells: 0.000%" in text and "; 0 beyond" in text


def test_what_does_not_repeat_is_named(base):
    other = copy.deepcopy(base)
    other["cells"][3]["rounds"] = [value * 1.003 for value in other["cells"][3]["rounds"]]
    text, worst = compare.text(base, other)
    assert worst == pytest.approx(0.003) and "(strict read-1m dmabuf); 1 beyond 0.2%" in text


def test_other_kernels_are_said_to_be_others(base):
    other = copy.deepcopy(base)
    other["made_of"]["kernel"]["made_from"]["series_sha256"] = "other"
    assert "DIFFERENT kernels" in compare.text(base, other)[0]


def test_runs_of_bench_and_cost_have_cells_too():
    assert compare.medians(test_bench.record())["strict randread-4k user"] == 7000
    assert compare.medians(test_cost.result())["strict read-4k dmabuf"] == 2000
    with pytest.raises(Fault, match="no cell in common"):
        compare.text(test_bench.record(), test_cost.result())


def line(text, metric, name):
    """Before, after, ratio and verdict of a cell."""
    rest = text[text.index(f"\n{metric} "):].partition(f"  {name} ")[2].splitlines()[0]
    return rest.split(maxsplit=3)


def test_every_metric_has_its_verdict():
    before, after = test_bench.record(), test_bench.record()
    for each, numbers in ((before, (100, 101, 102, 103)), (after, (10, 11, 12, 13))):
        each["speed"] = [row | {"round": number, "iops": float(iops)} for row in test_bench.record()["speed"][::4] for number, iops in enumerate(numbers, 1)]
    after["cost"] = [row | {"instructions_per_io": row["instructions_per_io"] * 1.01} for row in after["cost"]]
    after["operations"] = [row | {"flush_per_io": row["flush_per_io"] + 0.03} for row in after["operations"]]
    text, worst = compare.text(before, after)
    assert worst == pytest.approx(0.01)
    assert line(text, "instructions per I/O", "strict randread-4k dmabuf") == ["4,000.0", "4,040.0", "1.0100", "more"]
    assert line(text, "IOMMU maps per I/O", "strict randread-4k user") == ["1.000", "1.000", "1.0000", "same"]
    assert line(text, "IOTLB flushes per I/O", "strict randread-4k dmabuf") == ["0.000", "0.030", "-", "more"]
    assert line(text, "IOPS", "strict randread-4k user") == ["102", "12", "0.1133", "less"]
    assert line(compare.text(before, before)[0], "IOPS", "strict randread-4k user")[3] == "no verdict: p = 1 of 4 and 4 boots"


@pytest.mark.parametrize("before, after, says", (([1000.0, 1001], [1001.0, 1002], "same"), ([1000.0, 1020], [1010.0, 1030], "no verdict: rounds overlap"),
                                                 ([1000.0, 1001], [990.0, 991], "less"), ([1000.0], [1010.0], "more")))
def test_instructions_are_called_where_no_rounds_overlap(before, after, says):
    assert compare.verdict("instructions", before, after) == says


def test_sweeps_have_iops_alone():
    sweep = test_bench.record() | {"cost": [], "operations": []}
    text, worst = compare.text(sweep, sweep)
    assert worst == 0 and "instructions" not in text and "no verdict: 2 and 2 boots are too few" in text


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
