# SPDX-License-Identifier: GPL-2.0-or-later
"""Where in a machine a disk and a device with memory are: QEMU's arguments, as data."""

from dataclasses import dataclass

# A processor through whose host bridge Linux lets devices talk to each other.
TRUSTED = "-cpu max,vendor=AuthenticAMD,family=23,model=1,stepping=2"


def memory_device(size: str) -> str:
    """A device whose BAR is memory; where, the arguments that follow may say."""
    return f"-object memory-backend-ram,id=bar,size={size},share=on -device ivshmem-plain,memdev=bar"


# The disk, by its serial number "near", below port "one"; a device whose BAR is memory below "two"; and below "three" a
# disk, "giver", whose controller has memory.
DEVICES = ("-drive if=none,id=near,driver=null-co,size=64M,read-zeroes=on,snapshot=on -device nvme,drive=near,serial=near,bus=one,mdts=9 "
           f"{memory_device('16M')},bus=two "
           "-drive if=none,id=giver,driver=null-co,size=64M,read-zeroes=on,snapshot=on "
           "-device nvme,drive=giver,serial=giver,bus=three,cmb_size_mb=16,legacy-cmb=on")
PORT = "-device pcie-root-port,id={},chassis={},bus={}"  # a bus is named: QEMU may choose another than the first


@dataclass(frozen=True)
class Topology:
    """What is between them."""

    name: str
    ports: str
    text: str

    @property
    def args(self) -> str:
        return f"{TRUSTED} {self.ports} {DEVICES}"


def ports(*where: tuple[str, str]) -> str:
    return " ".join(PORT.format(name, 10 + i, bus) for i, (name, bus) in enumerate(where))


TOPOLOGIES = {topology.name: topology for topology in (
    Topology("switch", ports(("top", "pcie.0")) + " -device x3130-upstream,id=up,bus=top " + " ".join(
        f"-device xio3130-downstream,id={name},bus=up,chassis={20 + i},slot={20 + i}" for i, name in enumerate(("one", "two", "three"))),
        "both below one PCIe switch, whose ports do not redirect"),
    Topology("ports", ports(("one", "pcie.0"), ("two", "pcie.0"), ("three", "pcie.0")), "each below a root port of its own"),
    Topology("apart", "-device pxb-pcie,id=far,bus_nr=64,bus=pcie.0 " + ports(("one", "pcie.0"), ("two", "far"), ("three", "far")),
             "below different host bridges"),
)}
