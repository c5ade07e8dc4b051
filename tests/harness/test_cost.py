# SPDX-License-Identifier: GPL-2.0-or-later
"""From addresses to functions to subsystems, and from rows to goals, on made-up data."""

import copy
import csv
from pathlib import Path

import pytest

from harness.judge import goals
from harness.machine import filesystems
from harness.measure import attribution, cost, fio
from harness.record import mechanisms
from harness.show import cost as show_cost
from harness.show import plot

SYSTEM_MAP = """\
0000000000000000 D fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000100 t nvme_queue_rqs
ffffffff81000200 T io_read
ffffffff81000300 W arch_weak
"""


def test_addresses_become_functions():
    counts = "ffffffff81000100 3\nffffffff810001ff 4\nffffffff81000200 5\n401000 7\n7f0000000000 1\n"
    assert attribution.window(counts, SYSTEM_MAP).functions == {"nvme_queue_rqs": 7, "io_read": 5, attribution.USER: 8}


def test_without_symbols_nothing_is_lost():
    assert attribution.window("ffffffff81000100 3\n401000 7\n", "").functions == {"(unknown)": 3, attribution.USER: 7}


@pytest.mark.parametrize("function, subsystem", (
    ("io_read_fixed", "io_uring"), ("__io_submit_flush_completions", "io_uring"), ("io_schedule", "other"),
    ("nvme_poll_cq", "NVMe"), ("blk_mq_submit_bio", "block"), ("bio_alloc_bioset", "block"),
    ("dma_map_phys", "DMA/IOMMU"), ("intel_iommu_map_pages", "DMA/IOMMU"), ("alloc_iova_fast", "DMA/IOMMU"),
    ("common_interrupt", "interrupt"), ("do_syscall_64", "system call"), (attribution.USER, "user"), ("rw_verify_area", "other"),
))
def test_functions_have_a_subsystem(function, subsystem):
    assert attribution.subsystem(function) == subsystem


def test_subsystems_add_up():
    shares = {"io_read": 1.5, "nvme_poll_cq": 2.0, "rw_verify_area": 0.25}
    assert sum(attribution.by_subsystem(shares).values()) == 3.75


def test_what_moved_is_named_largest_first():
    assert attribution.moved({"a": 5, "b": 1, "c": 2}, {"a": 4, "b": 4, "c": 2.1}) == [("b", 3), ("a", -1)]


def result():
    """All cells, at prices that meet every goal."""
    prices = {"none": 6000, "user": 5000, "dmabuf": 2000}
    rows = [{"mode": mode, "case": name, "registration": registration, "round": number, "ios": 10, "commands_per_io": 1.0,
             "instructions_per_io": prices[registration] * (20 if registration != "dmabuf" and "1m" in name else 1),
             "functions": {"io_read": 1500.0, "nvme_poll_cq": 500.0}, "register_ns": 10**6,
             "contexts": {"user": 100.0, "kernel": 1400.0, "interrupt": 500.0},
             "mechanisms": dict.fromkeys(mechanisms.TITLES, 0.0) | {"command": 1.0}}
            for mode in ("strict", "passthrough") for name, case in cost.CASES.items()
            for registration in case.registrations for number in range(1, case.rounds + 1)]
    base = [dict(row, instructions_per_io=5000.0, functions={"io_read": 1400.0}) for row in rows
            if row["case"] == "read-4k" and row["registration"] == "user"]
    return {"schema": 3, "id": "run", "modes": ["strict", "passthrough"], "rows": rows, "base_rows": base,
            "cases": {name: {"arguments": case.arguments, "memory": case.memory} for name, case in cost.CASES.items()},
            "made_of": {"kernel": {"release": "7.3.4 x", "made_from": None, "bzimage_sha256": "x"}},
            "circumstances": {"qemu": "QEMU (Debian)", "date": "2026-11-27", "git_dirty": False}}


def test_goals_are_met_missed_or_not_measured():
    assert all(str(goal).endswith(" met") for goal in goals.goals(result()))

    slow = result()
    for row in slow["rows"]:
        if (row["mode"], row["case"], row["registration"]) == ("strict", "read-4k-last", "dmabuf"):
            row["instructions_per_io"] *= 1.01
    missed = [goal.text for goal in goals.goals(slow) if "NOT MET" in str(goal)]
    assert missed == ["4 KiB at the last offset / at 0 of 8GiB: STRICT"]

    other = result()
    other["rows"] = [row for row in other["rows"] if row["case"] == "write-4k"]
    other["cases"] = {"write-4k": other["cases"]["write-4k"]}
    assert show_cost.movers(result()) and show_cost.movers(other) == [] and "write-4k" in show_cost.text(other)

    part = result()
    part["base_rows"] = []
    assert ["not measured" in str(goal) for goal in goals.goals(part)].count(True) == 1
    assert "1 not measured" in show_cost.text(part)


def test_large_blocks_of_a_dmabuf_are_many():
    case = cost.CASES["read-1m"]
    assert (case.ios("user"), case.ios("dmabuf")) == (3000, 10000)
    assert cost.CASES["read-4k"].ios("dmabuf") == cost.CASES["read-4k"].count


@pytest.mark.parametrize("name, filesystem", (("file-read-4k", "ext4"), ("file-read-1m-xfs", "xfs")))
def test_files_are_of_a_new_file_system_each_time(name, filesystem):
    made, measured, undone = cost.script(cost.CASES[name], "dmabuf")
    assert f"mkfs.{filesystem} " in made and f" {filesystems.place(filesystem)} $DEV $DEV " in measured
    assert undone == f"umount {filesystems.place(filesystem)} || exit 1"
    assert all(line.endswith("|| exit 1") for line in (made, measured))
    assert filesystems.makers([filesystem]) == {f"/bin/mkfs.{filesystem}": Path(f"/sbin/mkfs.{filesystem}")}


def test_the_memory_is_of_one_kind_whatever_registers_it():
    assert {case.memory for case in cost.CASES.values()} == set(fio.MEMORY)
    for name, memory in (("read-1m", "scattered"), ("read-1m-huge", "2m")):
        for registration in ("user", "dmabuf"):
            assert f" --memory {memory} --bs 1m " in cost.script(cost.CASES[name], registration)[0]
        assert f" {name}: iocost --memory {memory} --bs 1m\n" in show_cost.text(result())


def test_a_file_that_costs_the_iommu_something_is_told():
    dear = result()
    row = next(row for row in dear["rows"] if (row["case"], row["registration"]) == ("file-read-1m-xfs", "dmabuf"))
    row["mechanisms"] = row["mechanisms"] | {"unmap": 0.5}
    row["commands_per_io"] = 2.0
    missed = [goal.text for goal in goals.goals(dear) if "NOT MET" in str(goal)]
    assert missed == ["1 MiB read of a file of XFS, dma-buf: NVMe commands per I/O", "reads of a file of XFS, dma-buf: IOMMU operations per I/O"]


def test_a_kernel_that_is_told_something_else_is_a_boot_of_its_own(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(cost, "boot", lambda kernel, mode, todo, keep: seen.append((keep.name, todo)) or [len(todo)])
    todo = list(cost.planned(("read-4k", "head-read-4k", "write-4k")))
    assert cost.boots(tmp_path, "lazy", todo, tmp_path / "lazy") == [10, 4]
    assert [name for name, _ in seen] == ["lazy", "lazy-head-read-4k"]
    assert [{case.append for case, _, _ in each} for _, each in seen] == [{""}, {cost.CASES["head-read-4k"].append}]


def test_the_noise_is_that_of_repeated_cells():
    noisy = copy.deepcopy(result())
    noisy["rows"][0]["instructions_per_io"] *= 1.002
    assert goals.noise(noisy["rows"]) == pytest.approx(0.002)


def test_the_text_names_functions_and_what_moved():
    text = show_cost.text(result())
    assert "  never: IOMMU maps, IOMMU unmaps" in text
    assert "io_read" in text and "+100.0  io_read" in text and "+500.0  nvme_poll_cq" in text


def test_the_stacks_add_up_to_what_they_stand_for(tmp_path):
    drawn = result()
    for row in drawn["rows"]:
        row["instructions_per_io"] = sum(row["functions"].values())
    plot.subsystems(drawn, tmp_path)
    rows = list(csv.DictReader((tmp_path / "subsystems.csv").open()))
    assert [(row["mode"], row["registration"]) for row in rows] == [
        (mode, registration) for mode in ("strict", "passthrough") for registration in ("none", "user", "dmabuf")]
    for row in rows:
        parts = [float(value) for name, value in row.items() if name not in ("mode", "registration", "total")]
        assert sum(parts) == pytest.approx(float(row["total"])) == 2000
    first = {kind: (tmp_path / f"subsystems.{kind}").read_bytes() for kind in ("svg", "png")}
    plot.subsystems(drawn, tmp_path)
    assert first == {kind: (tmp_path / f"subsystems.{kind}").read_bytes() for kind in ("svg", "png")}
