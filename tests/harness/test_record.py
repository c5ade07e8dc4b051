# SPDX-License-Identifier: GPL-2.0-or-later
"""One loader for every record: what is no whole record of a known schema is one sentence, and spoils nothing beside it."""

import copy
import json

import pytest
import test_bench
import test_cost

from harness.fault import Fault
from harness.judge import claims, compare, regress

from harness.paths import HISTORY
from harness.record import history, provenance, schema, store
from harness.show import cost as show_cost
from harness.show import report, table

WHOLE = next(HISTORY.glob("*.json")).read_text()
BROKEN = {"": "cannot be read as JSON", "{": "cannot be read as JSON", "\xff\x00": "cannot be read as JSON", "[]": "is no record", "3": "is no record",
          "{}": "is no record", '{"cells": []}': "has schema None", '{"cells": [], "schema": 99}': "has schema 99",
          '{"cells": [], "schema": 1}': "lacks commit, commit_date, subject and 2 more", json.dumps(json.loads(WHOLE) | {"cells": [1]}): r"lacks cells\[0\]:",
          json.dumps(json.loads(WHOLE) | {"made_of": {}}): "lacks made_of.kernel:", json.dumps(json.loads(WHOLE) | {"made_of": None}): "lacks made_of:"}


@pytest.mark.parametrize("text, says", BROKEN.items(), ids=range(len(BROKEN)))
def test_what_is_no_record_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "some.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(Fault, match=says) as caught:
        store.load(path)
    assert "\n" not in str(caught.value) and "some.json" in str(caught.value)


def test_each_kind_is_known_by_what_it_has(tmp_path):
    for name, result, kind in (("a", test_bench.record(), schema.OF_BENCH), ("b", test_cost.result(), schema.OF_COST),
                               ("c", json.loads(WHOLE), schema.OF_HISTORY)):
        (tmp_path / name).mkdir()
        store.write(tmp_path / name / kind.file, result)
        path = store.find(str(tmp_path / name))
        assert path.name == kind.file and store.load(path) == store.load(path, kind)
        other = next(each for each in schema.KINDS if each is not kind)
        with pytest.raises(Fault, match="no record"):
            store.load(path, other)


def spoiled(result):
    """Without each key, and with a value of another kind in its place: of the record, of its parts and of their first rows."""
    for place in ((), *((key,) for key in result), *((key, 0) for key in result if isinstance(result[key], list) and result[key])):
        part = result
        for step in place:
            part = part[step]
        for key in part if isinstance(part, dict) else ():
            for value in (GONE, None, "text", 3.5, [], {}):
                other = copy.deepcopy(result)
                inner = other
                for step in place:
                    inner = inner[step]
                if value is GONE:
                    del inner[key]
                else:
                    inner[key] = value
                yield (*place, key, value), other


GONE = object()


@pytest.mark.parametrize("result, use", (
    (test_bench.record(), lambda each: (table.text(each), claims.claims(each))), (test_cost.result(), show_cost.text),
    (json.loads(WHOLE), lambda each: regress.findings(each, json.loads(WHOLE)))), ids=("bench", "cost", "history"))
def test_what_is_loaded_can_be_used(tmp_path, result, use):
    """Each way to break a record is a sentence, or does not matter."""
    refused = 0
    for what, other in spoiled(json.loads(json.dumps(result))):
        (tmp_path / "record.json").write_text(json.dumps(other))
        try:
            whole = store.load(tmp_path / "record.json")
            compare.text(whole, whole)
            use(whole)
        except Fault:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    assert refused > 50


def test_a_bench_of_one_pass_a_boot_is_read(tmp_path):
    """Schema 2, as the run that is shown has it: neither passes nor order, and memory as the kernel gave it."""
    result = test_bench.record()
    for row in (result["plan"], *(row for name in ("speed", "cost", "operations") for row in result[name])):
        row["memory"] = "4k" if "mode" in row else {"randread-4k": "4k"}

    def without(row, *names):
        return {key: value for key, value in row.items() if key not in names}

    old = result | {"schema": 2, "plan": without(result["plan"], "passes", "memory"), "speed": [without(row, "pass", "memory") for row in result["speed"] if row["pass"] == 1]}
    old |= {name: [without(row, "memory") for row in result[name]] for name in ("cost", "operations")}
    store.write(tmp_path / "run.json", old)
    found = store.load(tmp_path / "run.json")
    assert (found["schema"], found["plan"]["passes"]) == (schema.SCHEMA, 1) and table.text(found) == table.text(result)
    old["speed"].pop()
    store.write(tmp_path / "run.json", old)
    with pytest.raises(Fault, match="lacks speed of"):
        store.load(tmp_path / "run.json")


def test_a_bench_has_every_round_of_every_cell(tmp_path):
    result = test_bench.record()
    for name, row in (("speed", -1), ("cost", 0), ("operations", 3)):
        other = copy.deepcopy(result)
        lost = other[name].pop(row)
        store.write(tmp_path / "run.json", other)
        with pytest.raises(Fault, match=f"lacks {name} of {lost['mode']} {lost['job']} {lost['registration']}:"):
            store.load(tmp_path / "run.json")


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_one_spoils_no_figure_and_no_report(tmp_path, monkeypatch, capsys, text):
    monkeypatch.setattr(history, "HISTORY", tmp_path)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    (tmp_path / "whole.json").write_text(WHOLE)
    (tmp_path / "broken.json").write_text(text, encoding="latin-1")
    assert [each["commit"] for each in history.shown()] == [json.loads(WHOLE)["commit"]]
    said = capsys.readouterr().err
    assert said.startswith("harness: left out: ") and "broken.json" in said and said.count("\n") == 1
    for name in ("mine", "broken"):
        (tmp_path / name).mkdir()
    result = test_bench.record()
    result["made_of"]["kernel"]["bzimage_sha256"] = "same"
    store.write(tmp_path / "mine/run.json", result)
    (tmp_path / "broken/run.json").write_text(text, encoding="latin-1")
    assert report.companions(tmp_path / "mine") == []
    assert history.find(json.loads(WHOLE)["commit"])["commit"] == json.loads(WHOLE)["commit"]
    # But which of them is the newest, a gate cannot know.
    with pytest.raises(Fault, match="broken.json"):
        history.find("")


@pytest.mark.parametrize("content", (b"", b"text", b"\0" * 1000, b"x" * 0x202 + b"HdrS" + b"\xff" * 0x10000))
def test_what_is_no_kernel_has_no_release(tmp_path, content):
    (tmp_path / "bzImage").write_bytes(content)
    with pytest.raises(Fault, match="is no bzImage"):
        provenance.kernel_release(tmp_path / "bzImage")
