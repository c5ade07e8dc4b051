# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan, the arithmetic and the claims, on records made up here."""

import collections
import csv
import dataclasses
import itertools
import json
import re
import subprocess

import pytest

from harness.check import suite
from harness.fault import Fault
from harness.judge import claims
from harness.machine import guest
from harness.machine.modes import MODES
from harness.measure import bench, columns, fio
from harness.record import store
from harness.show import hero, table

PLAN = bench.Plan(jobs=("randread-4k", "seqread-1m"), rounds=2, cost_rounds=1)


def test_every_cell_in_every_round_and_the_other_way_round_in_the_next():
    scripts = [bench.speed_boot(PLAN, MODES["lazy"], number).script for number in range(PLAN.rounds)]
    def order(script):
        return [word.split("speed.")[1].removesuffix(".json").split(".") for word in script.split() if word.startswith("--output=$RESULTS/speed.")]
    for script in scripts:
        assert len(order(script)) == len({tuple(each) for each in order(script)}) == 16
        assert "user-again" not in re.sub(r"[.]user-again[.]\d[.]json|echo '[^']*'", "", script)  # fio registers what `user` registers
        for job in PLAN.jobs:
            forth, back = ([name for of, name, turn in order(script) if (of, turn) == (job, wanted)] for wanted in "12")
            assert back == forth[::-1] and sorted(forth) == ["dmabuf", "none", "user", "user-again"]
    assert [order(script)[0][0] for script in scripts] == ["randread-4k", "seqread-1m"]


@pytest.mark.parametrize("registrations", (("none", "user", "dmabuf"), ("user",), ("none", "dmabuf"), ("none",)))
def test_each_follows_each_equally_often(registrations):
    """Over half as many rounds as there are registrations: what one leaves behind falls on all alike."""
    plan = bench.Plan(registrations=registrations)
    names = plan.with_again().registrations
    follows = collections.Counter()
    for number in range(max(len(names) // 2, 1)):
        order = [name for job, name, _ in plan.balanced(number) if job.name == "seqread-128k"]
        follows.update(zip([order[0], *order], order))
    assert set(follows) == set(itertools.product(names, names)) and len(set(follows.values())) == 1


def test_data_is_verified_before_anything_is_measured():
    first, *rest = bench.boots(PLAN)
    for registration in PLAN.registrations:
        verified = first.script.index(f"echo verified {registration}")
        assert first.script.index(f"/verify --registration {registration} ") < verified
        assert verified < first.script.index("speed.")
    assert len([boot for boot in (first, *rest) if "verified" in boot.script]) == len(PLAN.modes)


def test_a_boot_ends_at_its_first_failure(tmp_path):
    script = bench.PROLOGUE + "must echo dmabuf: fine\nmust true\nmust sh -c 'echo why; exit 3'\nmust echo dmabuf: after"
    done = subprocess.run(["sh", "-c", script.replace("/tmp/log", str(tmp_path / "log"))], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == "dmabuf: fine\nwhy\nbench: status 3 from: sh -c echo why; exit 3\n"


@pytest.mark.parametrize("enough, pauses, status", (("1500ms", ["1500ms"], 0), ("6s", ["1500ms", "6s"], 0), ("never", ["1500ms", "6s", "24s"], 1)))
def test_a_pause_that_was_missed_is_made_longer(tmp_path, enough, pauses, status):
    (tmp_path / "env").write_text(f"""#!/bin/sh
for word; do case $word in --thinktime=*) pause=${{word#*=}};; esac; done
echo $pause >>{tmp_path}/pauses
[ $pause = {enough} ] || exit {bench.MISSED}
""")
    (tmp_path / "env").chmod(0o755)
    plan = dataclasses.replace(PLAN, column=columns.COLUMNS["smp2"])
    line = bench.metered(plan, "events", bench.JOBS["randread-4k"], "user", 1, 100)
    script = f"PATH={tmp_path}:$PATH RESULTS={tmp_path} LOG={tmp_path}/log\n{bench.PROLOGUE}{line}\necho after"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert (tmp_path / "pauses").read_text().split() == pauses
    assert done.returncode == status and ("after" in done.stdout) == (status == 0)


def test_another_failure_is_not_tried_again(tmp_path):
    (tmp_path / "env").write_text(f"#!/bin/sh\necho once >>{tmp_path}/tries\nexit 1\n")
    (tmp_path / "env").chmod(0o755)
    line = bench.metered(dataclasses.replace(PLAN, cost_rounds=0), "events", bench.JOBS["randread-4k"], "user", 1, 100)
    script = f"PATH={tmp_path}:$PATH LOG={tmp_path}/log\n{bench.PROLOGUE}{line}"
    assert subprocess.run(["sh", "-c", script], capture_output=True).returncode == 1
    assert (tmp_path / "tries").read_text() == "once\n"


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
    (place / "cost.randread-4k.user.1.fio.json").write_text(fio_json(data, 2500))
    # 1000 I/Os of two requests each at 10 us, and time of the filler and of the meter that must not matter
    (place / "cost.randread-4k.user.1.json").write_text(json.dumps(
        {"total_requests": 5000, "requests": 2000, "wall_ns": 10000000 + 4 * 777 + 55, "own_ns": 55, "turns": 777,
         "turn_ns": 4.0, "pages": 100, "runs": 100}))
    (place / "events.randread-4k.user.1.fio.json").write_text(fio_json(data, 2500))
    (place / "events.randread-4k.user.1.json").write_text(json.dumps(
        {"total_requests": 5000, "requests": 2000, "map": 2000, "unmap": 1000, "flush": None, "command": 2000,
         "pages": 100, "runs": 100}))
    return tmp_path, plan


def test_filler_and_meter_are_no_cost(boot):
    row, = bench.cost_rows(*boot)
    assert row["ios"] == 1000
    assert row["instructions_per_io"] == pytest.approx(5000)


def test_operations_are_per_io_not_per_request(boot):
    row, = bench.operation_rows(*boot)
    assert (row["map_per_io"], row["unmap_per_io"], row["flush_per_io"], row["command_per_io"]) == (2, 1, None, 2)
    assert row["bytes_per_command"] == 2048


@pytest.mark.parametrize("memory, pages, runs, says", (
    ("scattered", 8192, 8192, ""), ("scattered", 8192, 8111, ""), ("scattered", 8192, 8100, "8192 pages lie in 8100 pieces"),
    ("2m", 8192, 16, ""), ("2m", 8192, 1, ""), ("2m", 8193, 17, ""), ("2m", 8192, 17, "has at most 16"), ("2m", 0, 0, "no buffer"), ("scattered", 0, 0, "no buffer"), ("peer", 0, 0, ""),
    ("peer", 16, 1, "16 pages of buffers are the system's memory")))
def test_memory_is_of_the_kind_that_the_plan_says(memory, pages, runs, says):
    found = fio.other_memory(memory, pages, runs)
    assert says in found and bool(says) == bool(found)


@pytest.mark.parametrize("kind, rows", (("events", "operation_rows"), ("cost", "cost_rows")))
def test_a_cell_in_other_memory_is_refused(boot, kind, rows):
    run, plan = boot
    path = run / f"boots/cost-strict/{kind}.randread-4k.user.1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"runs": 50}))
    with pytest.raises(Fault, match="cost-strict, randread-4k user: 100 pages lie in 50 pieces"):
        getattr(bench, rows)(run, plan)


def test_every_registration_of_a_job_has_the_same_memory():
    plan = bench.Plan(cost_rounds=1)
    assert set(plan.memory.values()) == set(fio.MEMORY) and plan.recorded()["memory"] == plan.memory
    lines = [line for boot in bench.boots(plan) for line in boot.script.splitlines() if " fio --output" in line]
    for job, kind in plan.memory.items():
        mine = [line for line in lines if f".{job}." in line]
        assert mine and all(f" --pages={kind} " in line for line in mine)
        assert {re.search(r"REGISTRATION=(\w+)", line)[1] for line in mine} == {"none", "user", "dmabuf"}
    assert all(" --pages=" in line for line in lines)


def test_the_flushes_of_another_model_are_none(boot):
    run, plan = boot
    events = run / "boots/cost-strict/events.randread-4k.user.1.json"
    events.write_text(json.dumps(json.loads(events.read_text()) | {"flush": 0}))
    assert bench.operation_rows(run, plan)[0]["flush_per_io"] == 0
    row, = bench.operation_rows(run, dataclasses.replace(plan, column=columns.COLUMNS["amd"]))
    assert row["flush_per_io"] is None and row["map_per_io"] == 2


def test_a_mode_without_verified_data_is_refused(boot):
    run, plan = boot
    (run / "boots/cost-strict/boot.json").write_text(json.dumps({"mode": "strict", "verified": [], "accel": "tcg"}))
    with pytest.raises(Fault, match="without verified data"):
        bench.collect(run, plan, run)


def test_a_run_of_other_things_is_another_run():
    keys = [bench.key(PLAN, {"kernel": 1}, {"qemu": 1}), bench.key(PLAN, {"kernel": 2}, {"qemu": 1}),
            bench.key(PLAN, {"kernel": 1}, {"qemu": 2}), bench.key(dataclasses.replace(PLAN, rounds=3), {"kernel": 1}, {"qemu": 1})]
    assert len(set(keys)) == 4 and keys[0] == bench.key(PLAN, {"kernel": 1}, {"qemu": 1})


def record(dmabuf_map=0.0, strict_flush=1.0, lazy_cost=4000.0):
    """Figures of the right size for each cell."""
    plan = bench.Plan(jobs=("randread-4k",), rounds=2, cost_rounds=1).recorded()
    cells = [(mode, name) for mode in plan["modes"] for name in plan["registrations"]]
    def operations(mode, name):
        each = dmabuf_map if name == "dmabuf" else float(mode != "passthrough")
        flush = strict_flush if mode == "strict" and name != "dmabuf" else 0.0
        return {"map_per_io": each, "unmap_per_io": each, "flush_per_io": flush, "command_per_io": 1.0,
                "bytes_per_command": 4096.0}
    def cost(mode, name):
        return lazy_cost if (mode, name) == ("lazy", "dmabuf") else 4000.0 if name == "dmabuf" else 7000.0
    key = lambda mode, name: {"mode": mode, "registration": name, "job": "randread-4k", "memory": "scattered"}  # noqa: E731
    return {
        "schema": 4, "id": "made-up", "accel": ["tcg"], "plan": plan,
        "made_of": {"kernel": {"release": "7.3.4 (x)", "made_from": None, "bzimage_sha256": "x"}, "fio": {"version": "3.33"}},
        "circumstances": {"qemu": "QEMU 7.2 (Debian)", "date": "2026-11-27", "git_dirty": False},
        "speed": [key(*cell) | {"round": number, "pass": turn, "iops": iops, "latency_ns": {"read": {"p50": 10, "p99": 20, "p999": 30}}}
                  for cell in [*cells, *((mode, "user-again") for mode in plan["modes"])]
                  for number, iops in ((1, 100.0), (2, 110.0)) for turn in (1, 2)],
        "cost": [key(*cell) | {"round": 1, "instructions_per_io": cost(*cell)} for cell in cells],
        "operations": [key(*cell) | operations(*cell) for cell in cells],
    }


def test_all_claims_hold():
    found = claims.claims(record())
    assert len(found) == 4 and all(claim.holds for claim in found)


def test_one_mode_alone_equals_nothing():
    alone = record()
    alone["plan"]["modes"] = ("lazy",)
    assert not any("every mode within" in claim.text for claim in claims.claims(alone))


@pytest.mark.parametrize("spoil, text", (
    ({"dmabuf_map": 0.02}, "dmabuf: no IOMMU"),
    ({"strict_flush": 0.5}, "at least one"),
    ({"lazy_cost": 4050.0}, "costs the same"),
))
def test_each_claim_can_fail(spoil, text):
    failed = [claim.text for claim in claims.claims(record(**spoil)) if not claim.holds]
    assert failed and all(text in line for line in failed)


def test_a_claim_names_what_was_counted():
    other = record()
    for row in other["operations"]:
        row["flush_per_io"] = None
    text = "\n".join(claim.text for claim in claims.claims(other))
    assert "at least one IOMMU map and unmap per I/O in strict (least: 1.000; flush is not counted on this IOMMU)" in text
    assert "no IOMMU map or unmap per I/O in any mode (most: 0.0000; flush is not counted on this IOMMU)" in text
    for row in other["operations"]:
        row["map_per_io"] = row["unmap_per_io"] = None
    with pytest.raises(Fault, match="no such tracepoints"):
        claims.claims(other)


def test_the_table(data):
    assert table.text(record()) == (data / "table.txt").read_text()


def test_the_table_fits_a_mail():
    assert max(map(len, table.text(record()).splitlines())) <= 100


def test_figures_are_byte_stable(tmp_path):
    from harness.show import plot
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plot.draw(record(), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(f"{stem}.{kind}" for stem in ("iops", "cost", "hero", "operations", "forest", "latency") for kind in ("svg", "png", "csv"))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_claim_is_one_table_of_what_is_counted_and_what_is_published():
    rows = {(row["mode"], row["registration"]): row for row in hero.numbers(record())}
    assert rows["strict", "user"]["instructions_per_io"] == 7000 and rows["lazy", "dmabuf"]["operations_per_io"] == 0
    assert [rows[mode, "user"]["operations_per_io"] for mode in hero.modes(record())] == [0, 2, 3]
    assert [rows[mode, "user"]["published_iops"] for mode in hero.modes(record())] == [5.01e6, 1.93e6, 0.57e6]
    worse = {(row["mode"], row["registration"]): row for row in hero.numbers(record(dmabuf_map=0.5, lazy_cost=5000.0))}
    assert worse["lazy", "dmabuf"]["instructions_per_io"] == 5000 and worse["lazy", "dmabuf"]["operations_per_io"] == 1
    text = hero.text(record())
    assert len(text) == 10 and "published, not ours" in text[7] and "1.93M" in text[8] and "1.93M" not in text[9]


@pytest.mark.parametrize("spoil", ({"modes": ("strict", "lazy")}, {"jobs": ("seqread-1m",)}, {"registrations": ("none", "user")}))
def test_a_record_that_has_not_all_of_it_makes_no_claim(spoil):
    part = record()
    part["plan"] |= spoil
    assert hero.numbers(part) == [] and hero.text(part) == []


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


def column_boots(name):
    plan = dataclasses.replace(PLAN, column=columns.COLUMNS[name])
    return plan, list(bench.boots(plan))


@pytest.mark.parametrize("name", columns.COLUMNS)
def test_every_column_is_verified_and_counted(name):
    plan, boots = column_boots(name)
    assert "echo verified user" in boots[0].script and boots[0].script.index("echo verified user") < boots[0].script.index("speed.")
    assert all("$RESULTS/events.randread-4k.user.1.json" in boot.script for boot in boots if boot.name.startswith("cost-"))
    assert all(plan.column.options in line for boot in boots for line in boot.script.splitlines() if " fio --output" in line)


def test_two_processors_have_no_instruction_clock():
    _, boots = column_boots("smp2")
    assert not any(boot.icount or "$RESULTS/cost." in boot.script for boot in boots)


def test_two_devices_are_one_job_and_one_count():
    _, boots = column_boots("disks2")
    assert "env DEV=$NULLDEV:$NULLDEV2 " in boots[-1].script
    assert " $NULLDEV:$NULLDEV2 events" in boots[-1].script
    assert "/verify --registration dmabuf --count 32 --bs 4k $DEV2" in boots[0].script


@pytest.mark.parametrize("name", ("ext4", "xfs"))
def test_a_file_is_written_before_it_is_read_and_its_disk_is_counted(name):
    _, boots = column_boots(name)
    for boot in boots:
        lines = boot.script[len(bench.PROLOGUE):].splitlines()
        assert f"mkfs.{name} " in lines[0] and f"dd if=/dev/zero of=/mnt/{name}/NULLDEV " in lines[1]
        assert all(f"env DEV=/mnt/{name}/" in line for line in lines if " fio --output" in line) and "DEV=$" not in boot.script
    assert " $DEV events" in boots[-1].script and "--io_size=" in boots[-1].script
    assert f"must iocost --registration dmabuf --count 32 --bs 4k --files /mnt/{name} $DEV $DEV" in boots[0].script


def test_a_column_leaves_out_blocks_that_it_cannot_have():
    assert bench.on(columns.COLUMNS["passthrough"], PLAN).jobs == ("randread-4k",) != bench.on(columns.COLUMNS["xfs"], PLAN).jobs
    with pytest.raises(Fault, match="column passthrough: nothing to measure, a block has at most 128 KiB there"):
        bench.on(columns.COLUMNS["passthrough"], dataclasses.replace(PLAN, jobs=("seqread-1m",)))


def test_commands_go_to_the_character_device_and_are_counted_by_the_disk():
    plan, boots = column_boots("passthrough")
    assert "env DEV=/dev/ng${NULLDEV#/dev/nvme} " in boots[0].script and " $NULLDEV events" in boots[-1].script
    assert all("iostats_passthrough" in boot.script[len(bench.PROLOGUE):].splitlines()[0] for boot in boots)
    assert "must iocost --registration user --count 32 --bs 128k --through passthru $NULLDEV $DEV" in boots[0].script
    place = plan.places("DEV")
    done = subprocess.run(["sh", "-c", f"DEV=/dev/nvme0n1; echo {place}"], capture_output=True, text=True)
    assert done.stdout == "/dev/ng0n1\n"


def test_an_unpatched_kernel_registers_no_dmabuf():
    assert columns.registrations(columns.COLUMNS["unpatched"], ("none", "user", "dmabuf")) == ("none", "user")


def test_a_mode_that_a_model_lacks_is_shown_with_its_reason():
    mine = record() | {"plan": record()["plan"] | {"column": dataclasses.asdict(columns.COLUMNS["amd"])}}
    text = table.side_by_side([mine], ("strict", "lazy"))
    assert "amd         lazy         unavailable: QEMU's AMD-Vi" in text
    assert "4,000" in text
    assert "AMD-Vi and NVMe emulated; AMD-Vi" in table.text(mine)


@pytest.mark.parametrize("statuses, good", (([bench.BAD_CLOCK, bench.BAD_CLOCK, 0], True), ([bench.BAD_CLOCK] * 99, False)))
def test_a_guest_whose_clock_is_wrong_is_not_measured(tmp_path, monkeypatch, statuses, good):
    def boot(spec, out, directory, started):
        for name in ("console", "stderr"):
            (directory / name).touch()
        return guest.Outcome(statuses.pop(0), ("DMA",), (), "", directory)

    monkeypatch.setattr(guest, "boot", boot)
    monkeypatch.setattr(guest, "accelerator", lambda spec: "tcg")
    first = next(bench.boots(PLAN))
    if good:
        bench.run_boot(first, PLAN.column, tmp_path, tmp_path / "boot")
        assert not statuses and (tmp_path / "boot/boot.json").exists()
    else:
        with pytest.raises(Fault, match="failed"):
            bench.run_boot(first, PLAN.column, tmp_path, tmp_path / "boot")
        assert len(statuses) == 99 - bench.CLOCK_TRIES and not (tmp_path / "boot/boot.json").exists()


def disturb(monkeypatch, tries):
    """Boots that take no time: what others had of the processor in each try of one, 0 of all others and at the end."""
    def run_boot(boot, column, kernel, directory):
        directory.mkdir(parents=True)
        if boot.name == breaks[0]:
            raise Fault("interrupted")
        left = tries.get(boot.name, [])
        store.write(directory / "boot.json", {"cells": {"a": {"others": left.pop(0) if left else 0.0}, "b": {"others": None}}})
        ran.append(boot.name)

    ran, breaks = [], [""]
    monkeypatch.setattr(bench, "run_boot", run_boot)
    return ran, breaks


def shares(run):
    return {path.parent.name: bench.disturbed(path.parent) for path in run.glob("boots/*/boot.json")}


def test_memory_of_a_peer_is_what_dma_bufs_alone_can_be(tmp_path):
    plan = dataclasses.replace(PLAN, column=columns.COLUMNS["peer"])
    script = next(bench.boots(plan)).script
    assert script.index("must() {") < script.index("PEER=${dir##*/}") < script.index("vfio-pci >") < script.index("fio ")
    for registration, memory in (("none", "--pages=scattered"), ("user", "--pages=scattered"), ("dmabuf", fio.FROM_PEER)):
        lines = [line for line in script.splitlines() if f"REGISTRATION={registration} " in line]
        assert len(lines) > 2 and all(memory in line for line in lines)  # those that verify, too
    assert [plan.memory_of(bench.JOBS["seqread-1m-huge"], name) for name in plan.registrations] == ["2m", "2m", fio.PEER]


def test_a_boot_that_was_disturbed_is_repeated_once_and_the_better_stays(tmp_path, monkeypatch):
    names = [boot.name for boot in bench.boots(PLAN)]
    worse, better, *rest = [name for name in names if name.startswith("speed-")]
    ran, _ = disturb(monkeypatch, {worse: [0.2, 0.5], better: [0.4, 0.05, 0.9], rest[0]: [0.1]})
    bench.boot_all(PLAN, tmp_path, tmp_path)
    again = ran[len(names):]
    assert again == [better, worse][:max(1, (2 + len(rest)) // 3)] and again[0] == better
    found = shares(tmp_path)
    assert sorted(found) == sorted(names)
    assert found[better] == 0.05 and found[worse] == 0.2 and found[rest[0]] == 0.1


def test_a_repetition_that_was_interrupted_loses_nothing(tmp_path, monkeypatch):
    names = [boot.name for boot in bench.boots(PLAN)]
    ran, breaks = disturb(monkeypatch, {names[0]: [0.3, 0.0]})
    real = bench.repeat_disturbed

    def interrupted(*args):
        breaks[0] = names[0]
        real(*args)

    monkeypatch.setattr(bench, "repeat_disturbed", interrupted)
    with pytest.raises(Fault, match="interrupted"):
        bench.boot_all(PLAN, tmp_path, tmp_path)
    breaks[0] = ""
    monkeypatch.setattr(bench, "repeat_disturbed", real)
    bench.boot_all(PLAN, tmp_path, tmp_path)
    assert ran == [*names, names[0]] and shares(tmp_path) == dict.fromkeys(names, 0.0)


@pytest.mark.parametrize("column, looked", (("vtd", ["speed"]), ("smp2", ["speed", "cost"])))
def test_the_wall_clock_of_a_guest_is_looked_at(tmp_path, monkeypatch, column, looked):
    """A machine's own (harness/measure/host.py runs the same scripts) says nothing of it, or no longer."""
    def boot(spec, out, directory, started):
        for name in ("console", "stderr"):
            (directory / name).touch()
        commands.append(spec.command)
        return guest.Outcome(0, ("DMA",), (), "", directory)

    commands = []
    monkeypatch.setattr(guest, "boot", boot)
    monkeypatch.setattr(guest, "accelerator", lambda spec: "tcg")
    plan = dataclasses.replace(PLAN, column=columns.COLUMNS[column])
    for each in bench.boots(plan):
        assert bench.CLOCK not in each.script
        bench.run_boot(each, plan.column, tmp_path, tmp_path / each.name)
        assert (bench.CLOCK in commands[-1]) == (each.name.split("-")[0] in looked)


@pytest.mark.parametrize("dmesg, status", (("tsc: Refined TSC clocksource calibration: 2599 MHz", 0), ("kvm-clock: using sched offset", 0),
                                           ("tsc: Detected 266.944 MHz processor", bench.BAD_CLOCK)))
def test_what_a_right_clock_says(tmp_path, dmesg, status):
    (tmp_path / "dmesg").write_text(f"#!/bin/sh\necho '{dmesg}'\n")
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    for name in ("dmesg", "sleep"):
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["sh", "-c", f"PATH={tmp_path}:$PATH\n{bench.CLOCK}"], capture_output=True, text=True)
    assert done.returncode == status


def test_curves_are_drawn_of_a_sweep(tmp_path):
    from harness.show import plot
    swept = record()
    jobs = ("bs-4k", "bs-1024k", "qd-1", "qd-128")
    swept["plan"] |= {"jobs": jobs, "memory": dict.fromkeys(jobs, "scattered")}
    swept["speed"] = [row | {"job": job} for row in swept["speed"] for job in jobs]
    plot.sweep(swept, tmp_path)
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert len(rows) == len(jobs) * 9 and {row["x"] for row in rows if row["against"] == "queue depth"} == {"1.0", "128.0"}
    assert all([float(row[name]) for name in ("value", "low", "high")] == pytest.approx([105, 100, 110]) for row in rows)
