# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be borrowed, and that it is given back: a sysfs made up here.  host.sh does it for real in a guest."""

import signal
import types

import pytest

from harness.fault import Fault, WrongMode
from harness.machine import target
from harness.measure import bench, host

FUNCTION = "devices/pci0000:00/0000:00:03.0"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A disk, its group and a governor; writing to unbind, bind and type has an effect as in the kernel."""
    sys = tmp_path / "sys"
    function, group = sys / FUNCTION, sys / "kernel/iommu_groups/3"
    namespace = function / "nvme/nvme0/nvme0n1"
    for place in (namespace, group / "devices/0000:00:03.0", sys / "bus/pci/drivers/nvme", sys / "class/block",
                  sys / "devices/system/cpu/cpu1/cpufreq"):
        place.mkdir(parents=True)
    for name, text in (("nvme/nvme0/transport", "pcie"), ("nvme/nvme0/nvme0n1/nsid", "1"), ("nvme/nvme0/nvme0n1/dev", "259:0")):
        (function / name).write_text(text + "\n")
    (group / "type").write_text("DMA\n")
    (sys / "devices/system/cpu/cpu1/cpufreq/scaling_governor").write_text("powersave\n")
    (function / "iommu_group").symlink_to(group)
    (function / "driver").symlink_to(sys / "bus/pci/drivers/nvme")
    (function / "nvme/nvme0/device").symlink_to(function)
    (sys / "class/block/nvme0n1").symlink_to(namespace)
    monkeypatch.setattr(target, "SYS", sys)
    monkeypatch.setattr(target, "await_device", lambda disk: "/dev/nvme0n1")
    written = []

    def put(path, value):
        written.append((path.name, value))
        if path.name == "unbind":
            (function / "driver").unlink()
        elif path.name == "bind":
            (function / "driver").symlink_to(sys / "bus/pci/drivers/nvme")
        elif path.name == "type" and (function / "driver").exists() and (target.text(path), value) != ("DMA", "DMA-FQ"):
            raise Fault("the kernel refuses: a driver is bound")
        else:
            path.write_text(value)

    monkeypatch.setattr(target, "put", put)
    disk = target.Disk(function, group, "nvme", "1")
    return types.SimpleNamespace(disk=disk, sys=sys, written=written, group=group, function=function,
                                 governor=sys / "devices/system/cpu/cpu1/cpufreq/scaling_governor")


@pytest.mark.parametrize("before, wanted, unbinds", (
    ("DMA", "DMA", 0), ("DMA", "DMA-FQ", 0), ("DMA", "identity", 1), ("DMA-FQ", "DMA", 1), ("identity", "DMA-FQ", 1)))
def test_the_driver_is_unbound_only_where_the_kernel_wants_it(machine, before, wanted, unbinds):
    (machine.group / "type").write_text(before)
    target.switch(machine.disk, wanted)
    assert machine.disk.type() == wanted
    assert [name for name, _ in machine.written].count("unbind") == unbinds
    assert (machine.function / "driver").exists()


def test_a_type_that_the_kernel_does_not_take_leaves_the_driver_bound(machine, monkeypatch):
    real = target.put

    def put(path, value):
        if path.name == "type":
            raise Fault("no")
        real(path, value)

    monkeypatch.setattr(target, "put", put)
    with pytest.raises(Fault):
        target.switch(machine.disk, "identity")
    assert (machine.function / "driver").exists()


def test_a_type_that_reads_otherwise_is_a_mismatch(machine, monkeypatch):
    monkeypatch.setattr(target, "put", lambda *_: None)
    with pytest.raises(WrongMode):
        target.switch(machine.disk, "DMA-FQ")


@pytest.mark.parametrize("end", (KeyboardInterrupt, SystemExit, Fault, None))
def test_all_is_given_back_whatever_happens(machine, end):
    handler = signal.getsignal(signal.SIGHUP)
    try:
        with target.borrowed(machine.disk, 1):
            assert machine.governor.read_text() == "performance"
            target.switch(machine.disk, "identity")
            if end:
                raise end
    except BaseException as caught:
        assert type(caught) is end
    finally:
        signal.signal(signal.SIGHUP, handler)
    assert machine.disk.type() == "DMA"
    assert machine.governor.read_text() == "powersave"
    assert (machine.function / "driver").exists()


@pytest.fixture
def device(machine, monkeypatch):
    """find() of /dev/nvme0n1, as root, on a machine that has it."""
    def named(name="nvme0n1"):
        place = machine.sys / "dev" / name
        place.parent.mkdir(exist_ok=True)
        place.touch()
        return str(place)

    monkeypatch.setattr(target.stat, "S_ISBLK", lambda mode: True)
    monkeypatch.setattr(target.os, "geteuid", lambda: 0)
    return named


def test_a_disk_alone_in_its_group_may_be_borrowed(machine, device):
    assert target.find(device()) == machine.disk


def test_refused_a_group_that_others_are_in(machine, device):
    (machine.group / "devices/0000:00:04.0").mkdir()
    with pytest.raises(Fault, match="also holds 0000:00:04.0"):
        target.find(device())


def test_refused_without_an_iommu(machine, device):
    (machine.function / "iommu_group").unlink()
    with pytest.raises(Fault, match="in no IOMMU group"):
        target.find(device())


def test_refused_over_a_network(machine, device):
    (machine.function / "nvme/nvme0/transport").write_text("tcp\n")
    with pytest.raises(Fault, match="reached by tcp"):
        target.find(device())


def test_refused_a_multipath_head(machine, device):
    head = machine.sys / "devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"
    head.mkdir(parents=True)
    (machine.sys / "class/block/nvme0n1").unlink()
    (machine.sys / "class/block/nvme0n1").symlink_to(head)
    with pytest.raises(Fault, match="multipath head.*multipath=N"):
        target.find(device())


def test_refused_without_root(machine, device, monkeypatch):
    path = device()
    monkeypatch.setattr(target.os, "geteuid", lambda: 1000)
    with pytest.raises(Fault, match="needs root"):
        target.find(path)


@pytest.mark.parametrize("file, text, says", (
    ("self/mountinfo", "30 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n", "mounted at /srv"),
    ("self/mountinfo", "30 1 259:1 / /srv rw - ext4 /dev/nvme0n1p1 rw\n", "nvme0n1p1 is mounted"),
    ("swaps", "Filename Type\n/dev/nvme0n1p1 partition 8 0 -2\n", "swap space"),
))
def test_refused_in_use(machine, tmp_path, monkeypatch, file, text, says):
    partition = machine.function / "nvme/nvme0/nvme0n1/nvme0n1p1"
    partition.mkdir()
    (partition / "dev").write_text("259:1\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc" / file).write_text(text)
    monkeypatch.setattr(target, "PROC", tmp_path / "proc")
    with pytest.raises(Fault, match=says):
        target.refuse_in_use(machine.disk)


def test_refused_with_a_holder(machine, tmp_path, monkeypatch):
    (machine.function / "nvme/nvme0/nvme0n1/holders/dm-0").mkdir(parents=True)
    monkeypatch.setattr(target, "PROC", tmp_path)
    with pytest.raises(Fault, match="held by dm-0"):
        target.refuse_in_use(machine.disk)


def test_jobs_that_write_are_told_from_those_that_do_not():
    assert [name for name, job in bench.JOBS.items() if not job.writes] == ["randread-4k", "seqread-128k", "seqread-1m", "randread-4k-huge", "seqread-128k-huge",
                                                                            "seqread-1m-huge"]


@pytest.mark.parametrize("free, with_huge", ((None, False), ("15", False), ("16", True)))
def test_jobs_in_huge_pages_need_some(machine, capsys, free, with_huge):
    place = target.SYS / "kernel/mm/hugepages/hugepages-2048kB"
    place.mkdir(parents=True)
    if free:
        (place / "free_hugepages").write_text(free)
    names = host.possible(("randread-4k", "seqwrite-1m", "seqread-1m-huge"), False)
    assert names == ("randread-4k", "seqread-1m-huge") if with_huge else ("randread-4k",)
    assert ("host: without seqread-1m-huge: fewer than 16 huge pages" in capsys.readouterr().out) is not with_huge
