# SPDX-License-Identifier: GPL-2.0-or-later
"""From specification to QEMU's arguments, and from what a boot left to its verdict: no VM."""

import dataclasses
import io
import os
import shutil
import subprocess
import time
import types
from pathlib import Path

import pytest

from harness.fault import Fault, LostGuest, Splat, TimedOut, WrongMode
from harness.machine import guest
from harness.machine.modes import IOMMUS, MODES

SPEC = guest.Spec(kernel=Path("bzImage"), mode=MODES["strict"], command="true")
CLEAN = "[    1.0] harness: start\n[    2.0] harness: end\n"


@pytest.fixture(autouse=True)
def no_kvm(monkeypatch):
    monkeypatch.setattr(guest, "kvm_works", lambda _: False)


@pytest.mark.parametrize("qemu, works", (("true", True), ("false", False), ("yes", False)))
def test_kvm_counts_once_a_guest_has_run(monkeypatch, capsys, tmp_path, qemu, works):
    def run(argv, **options):
        return subprocess.run(argv[:1], **(options | {"timeout": 0.1, "stdout": subprocess.DEVNULL}))

    monkeypatch.undo()
    guest.kvm_works.cache_clear()
    first, other = tmp_path / "bzImage", tmp_path / "other"
    first.write_text("one kernel")
    other.write_text("another")
    monkeypatch.setattr(guest, "CACHE", tmp_path)
    monkeypatch.setattr(guest.os, "access", lambda *_: True)
    monkeypatch.setattr(guest, "PC", dataclasses.replace(guest.PC, qemu=qemu))
    monkeypatch.setattr(guest, "subprocess", types.SimpleNamespace(**(vars(subprocess) | {"run": run})))
    assert guest.kvm_works(first) is works
    assert bool(capsys.readouterr().err) is not works
    # The verdict outlives the process: nothing is tried again, or said.
    guest.kvm_works.cache_clear()
    monkeypatch.setattr(guest, "PC", dataclasses.replace(guest.PC, qemu="/nonexistent"))
    assert guest.kvm_works(first) is works
    assert not capsys.readouterr().err
    # But it is that kernel's alone, and other verdicts stay.
    for qemu, verdict in (("false", False), ("true", True)):
        guest.kvm_works.cache_clear()
        other.write_text(f"another for {qemu}")
        monkeypatch.setattr(guest, "PC", dataclasses.replace(guest.PC, qemu=qemu))
        assert guest.kvm_works(other) is verdict
    assert sorted(guest.kvm_verdicts().values()) == sorted([works, False, True])
    # Nor does it outlive the machine's boot.
    monkeypatch.setattr(guest, "boot_id", lambda: "another")
    assert guest.kvm_verdicts() == {}


def argv(**changes):
    return guest.qemu_argv(dataclasses.replace(SPEC, **changes), Path("/run"), 9)


def test_golden(data):
    assert "\n".join(argv()) + "\n" == (data / "qemu-argv.txt").read_text()


def test_the_iommu_comes_before_what_it_translates_for():
    words = argv()
    assert [word.split(",")[0] for word in words if word.startswith(("intel-iommu", "nvme,"))] == [
        "intel-iommu", "nvme", "nvme", "nvme"]
    assert "caching-mode=off" in words[words.index("-device") + 1]


@pytest.mark.parametrize("mode, wanted", (("strict", "iommu.passthrough=0 iommu.strict=1"),
                                          ("lazy", "iommu.passthrough=0 iommu.strict=0"),
                                          ("passthrough", "iommu.passthrough=1")))
def test_modes_are_kernel_arguments(mode, wanted):
    words = argv(mode=MODES[mode])
    assert wanted in words[words.index("-append") + 1]


def test_instruction_clock_is_one_processor():
    words = argv(icount=True, cpus=4)
    assert words[words.index("-icount") + 1] == "shift=1,sleep=off"
    assert words[words.index("-smp") + 1] == "1"


def test_an_image_is_not_written_unless_told_to(tmp_path):
    image = tmp_path / "disk,1"
    image.write_bytes(b"\0" * 512)
    def drive(**changes):
        return next(word for word in argv(disk=str(image), **changes) if "id=data," in word)
    assert drive().endswith("format=raw,snapshot=on")
    assert drive(disk_write=True).endswith("snapshot=off")
    assert "disk,,1" in drive()
    image.write_bytes(b"QFI\xfb" + b"\0" * 508)
    assert "format=qcow2" in drive()


def test_variables_name_disks_by_serial():
    assert b"DEV=data " in guest.environment(SPEC)
    assert b"DEV=null " in guest.environment(dataclasses.replace(SPEC, disk="null"))


@pytest.mark.parametrize("changes, says", (
    ({"command": " "}, "CMD="),
    ({"kernel": Path("/nonexistent")}, "KERNEL="),
    ({"disk": "/nonexistent"}, "DISK="),
    ({"disk": "12"}, "DISK="),
    ({"disk": "/etc"}, "DISK="),
    ({"cpus": 0}, "SMP="),
    ({"timeout": -1.0}, "TIMEOUT="),
))
def test_bad_input_is_one_sentence(tmp_path, changes, says):
    kernel = tmp_path / "bzImage"
    kernel.touch()
    with pytest.raises(Fault, match=says) as fault:
        guest.prepare(dataclasses.replace(SPEC, **({"kernel": kernel} | changes)), tmp_path)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("memory, good", (("2G", True), ("512", True), ("much", False), ("0G", False), ("-1", False), ("2GB", False)))
def test_memory_is_a_size(memory, good):
    if good:
        guest.check(dataclasses.replace(SPEC, memory=memory))
    else:
        with pytest.raises(Fault, match="MEM="):
            guest.check(dataclasses.replace(SPEC, memory=memory))


def test_what_is_refused_leaves_no_directory(tmp_path):
    with pytest.raises(Fault):
        guest.boot(dataclasses.replace(SPEC, kernel=Path("/nonexistent")), io.BytesIO(), tmp_path / "keep")
    assert not (tmp_path / "keep").exists()


@pytest.mark.parametrize("name, place, magic", (("vtd", 0x202, b"HdrS"), ("smmu", 0x38, b"ARM\x64")))
def test_a_kernel_is_known_by_its_magic_number(tmp_path, name, place, magic):
    """Or QEMU would be asked whether KVM works with what is no kernel."""
    image = tmp_path / "image"
    for content, good in ((b"", False), (b"\x7fELF" * 1000, False), (b"\0" * place + magic, True), (b"\0" * (place + 1) + magic, False)):
        image.write_bytes(content)
        assert guest.is_kernel(image, IOMMUS[name].board) is good


def test_a_kernel_without_a_driver_is_told_at_once(tmp_path):
    console = "[ 1.0] harness: start\n[ 1.5] harness: this kernel has no nvme\n[ 1.6] reboot: Power down\n"
    with pytest.raises(Fault, match="has no nvme driver: build it in, or put nvme.ko with") as caught:
        judged(tmp_path, status="", console=console)
    assert type(caught.value) is Fault and "\n" not in str(caught.value)


@pytest.mark.parametrize("there, lacks", ((("pci/drivers/nvme", "pci/drivers/virtio-pci", "virtio/drivers/virtio_console"), ""),
                                          (("pci/drivers/virtio-pci", "virtio/drivers/virtio_console",), "nvme\n"),
                                          (("pci/drivers/nvme", "virtio/drivers/virtio_console",), "virtio-pci\n"),
                                          ((), "virtio-pci\nvirtio_console\nnvme\n")))
def test_the_guest_looks_for_drivers_before_it_waits(tmp_path, there, lacks):
    """That part of its init, with a sysfs made up here."""
    text = (guest.ROOT / "harness/guest/init.sh").read_text()
    part = text[text.index("for driver in"):text.index("# Device and port probing")]
    for name in there:
        (tmp_path / "bus" / name).mkdir(parents=True)
    (tmp_path / "bus").mkdir(exist_ok=True)
    script = part.replace("/sys/", f"{tmp_path}/").replace("/dev/kmsg", "/dev/stdout").replace("poweroff -f", "echo off")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "".join(f"harness: this kernel has no {name}\n" for name in lacks.split()) + ("off\n" if lacks else "")


def test_a_shell_is_a_terminal_of_the_guest():
    words = argv(typing=True)
    assert "stdio,id=typing,signal=off" in words and "virtconsole,chardev=typing" in words
    assert not any("stdio" in word for word in argv())


def test_files_have_places(tmp_path):
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").touch()
    (tmp_path / "g").touch()
    assert guest.user_files(f"{tmp_path}/d {tmp_path}/g=/opt/h") == {
        "/root/d/e/f": tmp_path / "d/e/f", "/opt/h": tmp_path / "g"}


@pytest.mark.parametrize("words", ("/nonexistent", "/etc/hostname=here", "'open"))
def test_bad_files(words):
    with pytest.raises(Fault, match="FILES"):
        guest.user_files(words)


def judged(run, status="mode DMA\nmode DMA\nmode DMA\nexit 0\n", console=CLEAN, ended=True, returncode=0, stderr=""):
    for name, text in (("status", status), ("console", console), ("stderr", stderr)):
        (run / name).write_text(text)
    return guest.judge(SPEC, run, ended, returncode)


def test_a_status_comes_back(tmp_path):
    assert judged(tmp_path) == (0, ("DMA", "DMA", "DMA"))
    assert judged(tmp_path, status="mode DMA\nexit 77\n") == (77, ("DMA",))


@pytest.mark.parametrize("fault, left", (
    (WrongMode, {"status": "mode DMA-FQ\n"}),
    (WrongMode, {"status": "mode DMA\nmode none\n"}),
    (Splat, {"console": CLEAN + "[ 3.0] WARNING: CPU: 0 PID: 1 at x.c:1\n"}),
    (Splat, {"console": CLEAN + "[ 3.0] BUG: KASAN: x\n", "status": "", "ended": False}),
    (TimedOut, {"console": "[ 1.0] harness: start\n", "status": "mode DMA\n", "ended": False}),
    (LostGuest, {"console": "[ 1.0] harness: start\n[ 2.0] Kernel panic - not syncing\n", "status": "mode DMA\n"}),
    (LostGuest, {"status": "mode DMA\n"}),
    (LostGuest, {"console": "[ 1.0] harness: start\n"}),
    (Fault, {"console": "", "status": "", "returncode": 1, "stderr": "qemu: -bogus: invalid option"}),
))
def test_each_way_to_fail_is_its_own(tmp_path, fault, left):
    with pytest.raises(Fault) as caught:
        judged(tmp_path, **left)
    assert type(caught.value) is fault


def test_the_statuses_differ():
    assert len({fault.status for fault in (Fault, WrongMode, TimedOut, Splat, LostGuest)}) == 5


def test_output_streams_until_the_end_or_the_deadline():
    read, write = os.pipe()
    os.write(write, b"so far")
    sink = io.BytesIO()
    assert not guest.pump(read, sink, time.monotonic() + 0.05)
    assert sink.getvalue() == b"so far"
    os.write(write, b" and more")
    os.close(write)
    assert guest.pump(read, sink, time.monotonic() + 5)
    assert sink.getvalue() == b"so far and more"
    os.close(read)


@pytest.mark.parametrize("name, device", (("amd", "amd-iommu"), ("virtio", "virtio-iommu-pci")))
def test_other_models_come_first_too(name, device):
    words = [word.split(",")[0] for word in argv(iommu=IOMMUS[name])]
    assert words.index(device) < words.index("nvme") and "intel-iommu" not in words


def test_a_mode_that_a_model_lacks_says_why(tmp_path):
    for left, content in (("status", "mode DMA\n"), ("console", CLEAN), ("stderr", "")):
        (tmp_path / left).write_text(content)
    with pytest.raises(WrongMode, match="caches absent entries"):
        guest.judge(dataclasses.replace(SPEC, mode=MODES["lazy"], iommu=IOMMUS["amd"]), tmp_path, True, 0)


def test_further_disks_and_other_blocks():
    words = argv(nulls=2, block=4096)
    disks = [word for word in words if word.startswith("nvme,")]
    assert len(disks) == 4 and all("logical_block_size=4096" in word for word in disks)
    assert b"NULLDEV2=null2" in guest.environment(dataclasses.replace(SPEC, nulls=2))


def test_an_open_quote_is_named():
    with pytest.raises(Fault, match="QEMU_EXTRA='x"):
        argv(qemu_extra="'x")


def test_what_qemu_says_is_one_line(tmp_path):
    for left, content in (("status", ""), ("console", ""), ("stderr", "qemu: -m abc\nOptional suffix k\n")):
        (tmp_path / left).write_text(content)
    with pytest.raises(Fault, match="QEMU did not start: qemu: -m abc Optional suffix k: look at .*MEM=") as caught:
        guest.judge(SPEC, tmp_path, True, 1)
    assert "\n" not in str(caught.value)


def test_guests_keep_to_processors_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(guest, "CACHE", tmp_path)
    monkeypatch.setattr(guest.os, "sched_getaffinity", lambda _: {0, 1})
    first, second = guest.processor(), guest.processor()
    assert (first.__enter__(), second.__enter__()) == ("1", "0")
    # A third waits, says so, and gets the one that is given back.
    monkeypatch.setattr(guest.time, "sleep", lambda _: second.__exit__(None, None, None))
    with guest.processor() as third:
        assert third == "0"
    assert "waiting for one to end" in capsys.readouterr().err
    first.__exit__(None, None, None)


@pytest.mark.parametrize("words, policy", (((), "SCHED_OTHER"), (("-icount", "shift=1"), "SCHED_BATCH")))
def test_with_an_instruction_clock_no_thread_breaks_in_on_another(monkeypatch, tmp_path, words, policy):
    monkeypatch.setattr(guest, "CACHE", tmp_path)
    argv = ["sh", "-c", f"chrt -p $$ >{tmp_path}/policy", "sh", "-accel", "tcg,thread=single", *words]
    with guest.qemu(argv, tmp_path, 2) as process:
        assert process.wait(10) == 0
    assert policy in (tmp_path / "policy").read_text()


@pytest.mark.parametrize("name, tree", (("smmu", False), ("smmu-noncoherent", True)))
def test_an_arm_guest_has_another_machine(name, tree):
    words = argv(iommu=IOMMUS[name])
    assert words[0] == "qemu-system-aarch64" and "iommu=smmuv3" in words[words.index("-machine") + 1]
    assert words[words.index("-append") + 1].startswith("console=ttyAMA0 hugepagesz=2M ")
    assert not any(word.startswith("intel-iommu") for word in words)
    assert ("-dtb" in words) is tree


def test_a_guest_has_programs_for_its_processor(monkeypatch, tmp_path):
    for place in ("tests/data", "arm64/tests/data", "fio"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch(0o755)
    monkeypatch.setattr(guest, "BUILD", tmp_path)
    here, there = (guest.base_files(IOMMUS[name].board) for name in ("vtd", "smmu"))
    assert here["/tests/data"] == tmp_path / "tests/data" and "/bin/fio" in here
    assert there["/tests/data"] == tmp_path / "arm64/tests/data" and "/bin/fio" not in there
    assert there["/bin/busybox"] == tmp_path / "arm64/busybox"


@pytest.mark.skipif(not (shutil.which("qemu-system-aarch64") and shutil.which("fdtget")),
                    reason="no qemu-system-aarch64 or fdtget: `make kernel VARIANT=arm64` installs them")
def test_a_device_tree_loses_what_it_is_to_lose(tmp_path):
    guest.device_tree(dataclasses.replace(SPEC, iommu=IOMMUS["smmu-noncoherent"]), tmp_path / "dtb")
    names = subprocess.run(["fdtget", "-p", str(tmp_path / "dtb"), "/pcie@10000000"], capture_output=True, text=True).stdout.split()
    assert "iommu-map" in names and "dma-coherent" not in names
