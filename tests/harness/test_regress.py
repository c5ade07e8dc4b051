# SPDX-License-Identifier: GPL-2.0-or-later
"""A recorded boot of one build (data/record.json.gz), faults planted in copies of it: which are called, and by what name."""

import argparse
import copy
import gzip
import json
import re
import subprocess
import sys

import pytest

from harness import __main__ as main
from harness.build import products
from harness.check import suite
from harness.fault import Fault
from harness.judge import regress
from harness.measure import gate
from harness.paths import ROOT
from harness.record import history, mechanisms, provenance
from harness.show import dashboard, directory, plot, regress as show_regress


@pytest.fixture
def base(data):
    return json.loads(gzip.decompress((data / "record.json.gz").read_bytes()))


def cell_of(each, name):
    return next(cell for cell in each["cells"] if gate.name_of(cell) == name)


def slower(each, function, share, mode=""):
    """That function takes `share` of the whole I/O more, in every cell."""
    changed = copy.deepcopy(each)
    for cell in changed["cells"]:
        if cell["mode"].startswith(mode):
            more = cell["rounds"][0] * share
            cell["functions"][function] = cell["functions"].get(function, 0) + more
            cell["rounds"] = [value + more for value in cell["rounds"]]
    return changed


def test_the_record_is_a_real_one(base):
    assert len(base["cells"]) == 12 and all(len(cell["rounds"]) == gate.ROUNDS for cell in base["cells"])
    for cell in base["cells"]:
        assert sum(cell["functions"].values()) == pytest.approx(cell["rounds"][0], rel=1e-4)
        assert sum(cell["contexts"].values()) == pytest.approx(cell["rounds"][0], rel=1e-4)


def test_a_build_against_itself_is_quiet(base):
    assert regress.findings(base, copy.deepcopy(base)) == []


def test_one_percent_in_one_function_is_called_by_its_name(base):
    found = regress.findings(base, slower(base, "nvme_prep_rq.part.0", 0.01))
    noisy = {gate.name_of(cell) for cell in base["cells"] if regress.band(cell) > 0.003}
    assert noisy <= {f"{mode} read-1m dmabuf" for mode in ("strict", "lazy", "passthrough")}
    assert {finding.cell for finding in found} >= {gate.name_of(cell) for cell in base["cells"]} - noisy
    for finding in found:
        assert finding.what == "instructions" and finding.after / finding.before == pytest.approx(1.01, abs=1e-3)
        assert finding.moved[0][0] == "nvme_prep_rq.part.0" and len(finding.moved) == 1
        assert "+1.0" in str(finding) and "nvme_prep_rq.part.0" in str(finding)


def test_a_new_function_is_named_too(base):
    assert regress.findings(base, slower(base, "quite_new", 0.01))[0].moved[0][0] == "quite_new"


@pytest.mark.parametrize("share", (0.002, -0.01))
def test_less_than_the_threshold_and_less_cost_are_not(base, share):
    assert regress.findings(base, slower(base, "nvme_prep_rq.part.0", share)) == []


def test_code_that_moves_to_another_function_is_no_regression(base):
    moved = copy.deepcopy(base)
    for cell in moved["cells"]:
        cell["functions"]["inlined_now"] = cell["functions"].pop("nvme_prep_rq.part.0")
    assert regress.findings(base, moved) == []


def test_rounds_that_overlap_are_no_regression(base):
    noisy = copy.deepcopy(base)
    cell = noisy["cells"][0]
    cell["rounds"] = [cell["rounds"][0] * 0.999, cell["rounds"][1] * 1.02]
    assert regress.findings(base, noisy) == []


@pytest.mark.parametrize("name", mechanisms.OF_THE_IO)
def test_any_more_operations_are_called(base, name):
    more = copy.deepcopy(base)
    cell_of(more, "lazy read-4k dmabuf")["mechanisms"][name] += 0.031  # once a batch
    finding, = regress.findings(base, more)
    assert str(finding).startswith(f"lazy read-4k dmabuf: {mechanisms.TITLES[name]} per I/O")


def test_a_count_that_is_lost_is_called(base):
    lost = copy.deepcopy(base)
    cell_of(lost, "strict read-4k user")["mechanisms"]["flush"] = None
    finding, = regress.findings(base, lost)
    assert str(finding) == "strict read-4k user: IOTLB flushes can no longer be counted"


def test_a_timer_tick_is_nobodys_fault(base):
    more = copy.deepcopy(base)
    cell_of(more, "strict read-4k user")["mechanisms"]["timer_interrupt"] += 1
    assert regress.findings(base, more) == []


def test_only_what_shows_twice_is_called(base, monkeypatch):
    boots = [slower(base, "io_read", 0.01, "strict"), base]
    monkeypatch.setattr(gate, "take", lambda modes, kernel: copy.deepcopy(boots[0]))
    asked = []
    monkeypatch.setattr(gate, "measure", lambda modes, kernel: asked.append(tuple(modes)) or boots[1]["cells"])
    assert regress.against(base, ("strict", "lazy"), None)[1] == []
    assert asked == [("strict",)]
    boots[1] = boots[0]
    assert len(regress.against(base, ("strict", "lazy"), None)[1]) == 4


@pytest.mark.parametrize("key, value, why", (
    ("compiler", "gcc 99", "the compiler was"), ("base", "linux-0", "the base kernel was"), ("compiler", None, "not recorded now"),
))
def test_what_cannot_be_compared_is_not(base, key, value, why):
    other = copy.deepcopy(base)
    other["made_of"]["kernel"]["made_from"][key] = value
    assert why in regress.difference(base, other)
    assert regress.difference(base, copy.deepcopy(base)) == ""


def test_records_are_found_by_commit_and_by_path(base, tmp_path, monkeypatch):
    monkeypatch.setattr(history, "HISTORY", tmp_path)
    with pytest.raises(Fault, match="`make baseline`"):
        history.find("")
    base = base | {"commit": "2" * 40}
    older = copy.deepcopy(base) | {"commit": "1" * 40, "commit_date": "2000-01-01T00:00:00+00:00"}
    for each in (older, base):
        (tmp_path / f"{each['commit'][:12]}.json").write_text(json.dumps(each))
    assert history.find("")["commit"] == base["commit"]
    assert history.find("1111111")["commit"] == older["commit"]
    assert history.find(str(tmp_path / "111111111111.json"))["commit"] == older["commit"]
    with pytest.raises(Fault, match="no record of HEAD: check it out and run `make baseline`"):
        history.find("HEAD")


@pytest.fixture
def judged(base, tmp_path, monkeypatch):
    """suite.cost_gate() with a history of `base`, and boots that give what the test says."""
    monkeypatch.setattr(history, "HISTORY", tmp_path / "history")
    monkeypatch.setattr(gate, "PLACE", tmp_path)
    monkeypatch.setattr(provenance, "made_of_kernel", lambda kernel: base["made_of"]["kernel"])
    (tmp_path / "history").mkdir()
    for number in range(plot.ENOUGH):
        older = {"commit": str(number) * 40, "commit_date": f"2020-01-0{number + 1}"} if number else {}
        (tmp_path / f"history/{number}.json").write_text(json.dumps(base | older))

    def run(given):
        monkeypatch.setattr(gate, "take", lambda modes, kernel: given)
        monkeypatch.setattr(gate, "measure", lambda modes, kernel: given["cells"])
        return suite.cost_gate(tmp_path, directory.of_gate)
    return run


def test_the_gate_passes_fails_and_skips_by_cell(base, judged, tmp_path, capsys, monkeypatch):
    assert judged(base) == suite.Tally(passed=12)
    assert (tmp_path / "report.html").exists() and (tmp_path / dashboard.SMALLER).exists()
    assert judged(slower(base, "io_read", 0.03, "strict")) == suite.Tally(passed=8, failed=4)
    assert "REGRESSION: strict read-4k dmabuf" in capsys.readouterr().out
    other = copy.deepcopy(base["made_of"]["kernel"])
    other["made_from"]["compiler"] = "gcc 99"
    monkeypatch.setattr(provenance, "made_of_kernel", lambda kernel: other)
    assert judged(base) == suite.Tally(skipped=1)
    assert "skipped: " in capsys.readouterr().out


def test_data_that_does_not_verify_fails_the_gate(base, judged, monkeypatch):
    def boot(modes, kernel):
        raise Fault("cost: strict: verifying: the read at 0 of the buffer moved other bytes")
    judged(base)
    monkeypatch.setattr(gate, "take", boot)
    assert suite.cost_gate(ROOT, directory.of_gate) == suite.Tally(failed=1)


def test_what_costs_less_is_said_too(base):
    less = copy.deepcopy(base)
    cell = cell_of(less, "lazy read-4k dmabuf")
    cell["rounds"] = [value * 0.97 for value in cell["rounds"]]
    cell["functions"]["io_read"] -= 70
    cell_of(less, "strict read-4k user")["mechanisms"]["flush"] -= 0.5
    assert regress.findings(base, less) == []
    first, second = regress.improvements(base, less)
    assert {first.what, second.what} == {"instructions", "flush"} and all(each.after < each.before for each in (first, second))
    moved = next(each for each in (first, second) if each.what == "instructions").moved
    assert moved[0][0] == "io_read" and moved[0][1] == pytest.approx(-70)
    text = show_regress.text(base, less, [])
    assert "less: lazy read-4k dmabuf: " in text and text.endswith("no regression in 12 cells\n") and "less: lazy" in show_regress.markdown(base, less, [])


def test_the_base_is_the_nearest_ancestor(base, monkeypatch):
    known = [base | {"commit": name * 40, "commit_date": f"2026-01-0{day}"} for day, name in enumerate("abcd", 1)]
    monkeypatch.setattr(provenance, "git", lambda *words: "\n".join(name * 40 for name in order))
    for order, nearest in (("eba", "b"), ("ac", "a"), ("xyz", "d"), ("dcba", "d")):
        assert history.nearest(known)["commit"] == nearest * 40


def arguments(**given):
    return argparse.Namespace(**({"modes": ("strict",), "kernel_src": "", "kernel": "", "fio_src": "", "base": ""} | given))


def test_a_record_of_another_compiler_is_measured_again(base, monkeypatch, tmp_path):
    made = base["made_of"]["kernel"]["made_from"] | {"compiler": "gcc 99"}
    again = copy.deepcopy(base)
    again["made_of"]["kernel"]["made_from"]["compiler"] = "gcc 99"
    asked = []
    monkeypatch.setattr(main.runs, "BUILD", tmp_path)
    monkeypatch.setattr(products, "kernel_of", lambda commit, named: asked.append(commit) or tmp_path)
    monkeypatch.setattr(gate, "take", lambda modes, kernel, of: asked.append((kernel, of)) or again)
    monkeypatch.setattr(provenance, "has_commit", lambda name: True)
    assert main.measured_again(base, "why", made, arguments()) is again
    assert asked == [base["commit"], (tmp_path, base["commit"])]
    with pytest.raises(Fault, match="cannot be compared"):
        main.measured_again(base, "why", made | {"base": "another"}, arguments())
    monkeypatch.setattr(provenance, "has_commit", lambda name: False)
    with pytest.raises(Fault, match="why; and that commit is not in this repository"):
        main.measured_again(base, "why", made, arguments())


def test_what_people_and_ci_read(base):
    changed = slower(base, "io_read", 0.03, "lazy")
    found = regress.findings(base, changed)
    text, summary = show_regress.text(base, changed, found), show_regress.markdown(base, changed, found)
    assert text.count("REGRESSION: lazy") == 4 and text.endswith("4 regressions\n") and "io_read" in text
    assert summary.startswith("### 4 regressions\n") and summary.count("| strict") == 4
    assert show_regress.text(base, base, []).endswith("no regression in 12 cells\n")


def test_lists_for_dashboards(base):
    entries = dashboard.of_history(base)
    assert len({entry["name"] for entry in entries}) == len(entries)
    assert all({"name", "unit", "value"} <= entry.keys() <= {"name", "unit", "value", "range", "extra"} for entry in entries)
    flush, = (entry for entry in entries if entry["name"] == "strict read-4k user: IOTLB flushes")
    assert flush["value"] == 1 and flush["unit"] == "per I/O"


def test_history_marks_steps_and_does_not_join_compilers(base, tmp_path):
    records = [base | {"commit": "a" * 40}, slower(base, "io_read", 0.01) | {"commit": "b" * 40},
               *(copy.deepcopy(base) | {"commit": letter * 40} for letter in "cde")]
    for each in records[2:]:
        each["made_of"]["kernel"]["made_from"]["compiler"] = "gcc 99"
    plot.history(records[:4], tmp_path)
    assert not (tmp_path / "history.csv").exists()
    plot.history(records, tmp_path)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert len(lines) == 61 and sum(line.endswith("True") for line in lines) == 12  # c differs by its compiler, no step
    assert plot.change_points([100, 100.4, 102, 102, 100]) == [2, 4]


def test_bad_input_is_one_sentence():
    done = subprocess.run([sys.executable, "-m", "harness", "regress", "--modes=fast"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 240 and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ("github.yml", "gitlab.yml"))
def test_workflows_keep_files_that_are_written(judged, base, tmp_path, name):
    judged(base)
    text = (ROOT / "docs/ci" / name).read_text()
    paths = re.findall(r"build/regress/(\S+?)(?=[\s;])", text)
    assert "make regress" in text and len(paths) >= 5
    for path in paths:
        assert list(tmp_path.glob(path)), path
    yaml = pytest.importorskip("yaml", reason="no PyYAML here to read workflows with")
    assert yaml.safe_load(text)
