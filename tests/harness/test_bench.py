# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan, the arithmetic and the claims, on records made up here."""

import dataclasses
import json

import pytest

from harness import bench, claims, suite, table
from harness.fault import Fault
from harness.modes import MODES

PLAN = bench.Plan(jobs=("randread-4k", "seqread-1m"), rounds=2, cost_rounds=1)


def test_every_cell_in_every_round_and_the_other_way_round_in_the_next():
    forth, back = (bench.speed_boot(PLAN, MODES["lazy"], number).script for number in (0, 1))
    def order(script):
        return [word.split("=")[1] for word in script.split() if word.startswith("--output=$RESULTS/speed.")]
    assert len(order(forth)) == 6
    assert order(back) == order(forth)[::-1]


def test_data_is_verified_before_anything_is_measured():
    first, *rest = bench.boots(PLAN)
    for registration in PLAN.registrations:
        verified = first.script.index(f"echo verified {registration}")
        assert first.script.index(f"/tests/verify --registration {registration} ") < verified
        assert verified < first.script.index("speed.")
    assert len([boot for boot in (first, *rest) if "verified" in boot.script]) == len(PLAN.modes)


def test_modes_are_interleaved_and_take_turns_to_be_first():
    assert [boot.name for boot in bench.boots(PLAN)] == [
        "speed-strict-1", "speed-lazy-1", "speed-passthrough-1", "speed-lazy-2", "speed-passthrough-2",
        "speed-strict-2", "cost-strict", "cost-lazy", "cost-passthrough"]


def fio_json(data, ios):
    report = json.loads((data / "randread-user.json").read_text())
    report["jobs"][0]["read"]["total_ios"] = ios
    return json.dumps(report, indent=1)


@pytest.fixture
def boot(data, tmp_path):
    plan = bench.Plan(jobs=("randread-4k",), registrations=("user",), modes=("strict",), cost_rounds=1)
    place = tmp_path / "boots/cost-strict"
    place.mkdir(parents=True)
    ios = bench.JOBS["randread-4k"].cost_ios
    for n in (ios, 3 * ios):
        stem = f"cost.randread-4k.user.1.{n}"
        (place / f"{stem}.fio.json").write_text(fio_json(data, n))
        # 100 us to start, 10 us an I/O, and idle turns that must not matter
        (place / f"{stem}.json").write_text(json.dumps(
            {"wall_ns": 100000 + 10000 * n + 4 * n, "loops": n, "loop_ns": 4.0, "user_us": n, "system_us": 2 * n}))
    for n in (bench.EVENT_IOS, 3 * bench.EVENT_IOS):
        stem = f"events.randread-4k.user.1.{n}"
        (place / f"{stem}.fio.json").write_text(fio_json(data, n))
        (place / f"{stem}.json").write_text(json.dumps({"map": 50 + n, "unmap": n, "flush": None, "command": 7 + n}))
    return tmp_path, plan


def test_setup_and_idle_time_cancel(boot):
    run, plan = boot
    row, = bench.cost_rows(run, plan)
    assert row["instructions_per_io"] == pytest.approx(5000)
    assert row["task_user_ns_per_io"] == pytest.approx(1000)
    row, = bench.operation_rows(run, plan)
    assert (row["map_per_io"], row["command_per_io"], row["flush_per_io"]) == (1, 1, None)
    assert row["bytes_per_command"] == 4096


def test_fewer_ios_than_asked_for_are_no_measurement(boot, data):
    run, plan = boot
    ios = 3 * bench.JOBS["randread-4k"].cost_ios
    (run / f"boots/cost-strict/cost.randread-4k.user.1.{ios}.fio.json").write_text(fio_json(data, ios // 2))
    with pytest.raises(Fault, match="I/Os where"):
        bench.cost_rows(run, plan)


def test_a_mode_without_verified_data_is_refused(boot):
    run, plan = boot
    (run / "boots/cost-strict/boot.json").write_text(json.dumps({"mode": "strict", "verified": [], "accel": "tcg"}))
    with pytest.raises(Fault, match="without verified data"):
        bench.collect(run, plan, run)


def test_an_interrupted_run_goes_on_and_a_finished_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    first = bench.open_run(PLAN, {"kernel": 1})
    assert bench.open_run(PLAN, {"kernel": 1}) == first
    assert bench.open_run(PLAN, {"kernel": 2}) != first
    assert bench.open_run(dataclasses.replace(PLAN, rounds=3), {"kernel": 1}) != first
    (first / "run.json").touch()
    assert bench.open_run(PLAN, {"kernel": 1}) != first


def record(dmabuf_map=0.0, strict_flush=1.0, lazy_cost=4000.0):
    """Figures of the right size for each cell."""
    plan = dataclasses.asdict(bench.Plan(jobs=("randread-4k",), rounds=2, cost_rounds=1))
    cells = [(mode, name) for mode in plan["modes"] for name in plan["registrations"]]
    def operations(mode, name):
        each = dmabuf_map if name == "dmabuf" else float(mode != "passthrough")
        flush = strict_flush if mode == "strict" and name != "dmabuf" else 0.0
        return {"map_per_io": each, "unmap_per_io": each, "flush_per_io": flush, "command_per_io": 1.0,
                "bytes_per_command": 4096.0}
    def cost(mode, name):
        return lazy_cost if (mode, name) == ("lazy", "dmabuf") else 4000.0 if name == "dmabuf" else 7000.0
    key = lambda mode, name: {"mode": mode, "registration": name, "job": "randread-4k"}  # noqa: E731
    return {
        "id": "made-up", "accel": ["tcg"], "plan": plan,
        "made_of": {"kernel": {"release": "7.3.4 (x)"}, "fio": {"version": "3.33"}},
        "circumstances": {"qemu": "QEMU 7.2 (Debian)"},
        "speed": [key(*cell) | {"iops": iops} for cell in cells for iops in (100.0, 110.0)],
        "cost": [key(*cell) | {"instructions_per_io": cost(*cell)} for cell in cells],
        "operations": [key(*cell) | operations(*cell) for cell in cells],
    }


def test_all_claims_hold():
    found = claims.claims(record())
    assert len(found) == 4 and all(claim.holds for claim in found)


@pytest.mark.parametrize("spoil, text", (
    ({"dmabuf_map": 0.02}, "dmabuf: no IOMMU"),
    ({"strict_flush": 0.5}, "at least one"),
    ({"lazy_cost": 4050.0}, "costs the same"),
))
def test_each_claim_can_fail(spoil, text):
    failed = [claim.text for claim in claims.claims(record(**spoil)) if not claim.holds]
    assert failed and all(text in line for line in failed)


def test_the_table(data):
    assert table.render(record()) == (data / "table.txt").read_text()


def test_the_table_fits_a_mail():
    assert max(map(len, table.render(record()).splitlines())) <= 100


def test_figures_are_byte_stable(tmp_path):
    from harness import plot
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plot.draw(record(), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(f"{stem}.{kind}" for stem in ("iops", "cost", "operations") for kind in ("svg", "png", "csv"))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


KTAP = """KTAP version 1
1..3
  ok 1 - reads
  not ok 2 - writes
  # got 5
ok 1 - data
  ok 1 - tags # SKIP no such kernel
not ok 2 - slots # the kernel complained: WARNING
ok 3 - partition # SKIP no partition
"""


def test_counting_test_points():
    assert suite.ktap(KTAP) == suite.Tally(passed=2, failed=2, skipped=2)
