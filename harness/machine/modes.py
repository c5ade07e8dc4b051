# SPDX-License-Identifier: GPL-2.0-or-later
"""The IOMMU modes and models, and the machines that have them, as data."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Mode:
    name: str
    args: tuple[str, ...]
    expect: str  # what the guest must read in /sys/kernel/iommu_groups/*/type


@dataclass(frozen=True)
class Board:
    qemu: str
    machine: str
    cpu: str
    args: tuple[str, ...]  # of the kernel
    programs: str  # where in build/ the guest's own are, if not those of this machine
    dtb: tuple[tuple[str, str], ...] = ()  # properties that its device tree is to lose: node, name


# A busy host may not run us while Linux counts ticks to see whether the timer works, and panics.
PC = Board("qemu-system-x86_64", "q35,i8042=off", "max", ("console=ttyS0", "no_timer_check"), "")
# Its pages are of 64 KiB, and a huge one is of 512 MiB unless said otherwise.
VIRT = Board("qemu-system-aarch64", "virt,gic-version=3,iommu=smmuv3", "cortex-a72", ("console=ttyAMA0", "hugepagesz=2M"), "arm64")


@dataclass(frozen=True)
class Iommu:
    name: str
    text: str
    device: tuple[str, ...]
    args: tuple[str, ...]
    flushes: bool = False  # is there a tracepoint for its invalidations?
    lacks: dict[str, str] = field(default_factory=dict)  # mode -> why it is another one in the guest
    board: Board = PC


MODES = {
    mode.name: mode
    for mode in (
        Mode("strict", ("iommu.passthrough=0", "iommu.strict=1"), "DMA"),
        Mode("lazy", ("iommu.passthrough=0", "iommu.strict=0"), "DMA-FQ"),
        Mode("passthrough", ("iommu.passthrough=1",), "identity"),
    )
}

# What else the kernel side is tested in.
MORE_MODES = {
    mode.name: mode
    for mode in (
        Mode("off", ("intel_iommu=off",), "none"),
        # Bounce buffers for all DMA, of which there are 512 MiB: CPU and device never see the same memory.
        Mode("swiotlb", ("iommu.passthrough=1", "swiotlb=262144,force"), "identity"),
    )
}

# caching-mode=on would silently turn lazy into strict.
IOMMUS = {
    iommu.name: iommu
    for iommu in (
        Iommu("vtd", "VT-d", ("-device", "intel-iommu,intremap=on,caching-mode=off,aw-bits=48"),
              ("intel_iommu=on",), flushes=True),
        Iommu("amd", "AMD-Vi", ("-device", "amd-iommu"), (),
              lacks={"lazy": "QEMU's AMD-Vi says that it caches absent entries, so Linux makes lazy strict"}),
        Iommu("virtio", "virtio-iommu", ("-device", "virtio-iommu-pci"), ()),
        # Guests of VARIANT=arm64.
        Iommu("smmu", "SMMUv3", (), (), board=VIRT),
        # Linux then maintains caches, of which QEMU has none: that it does so is seen, not that it is right.
        Iommu("smmu-noncoherent", "SMMUv3, devices not coherent with caches", (), (),
              board=replace(VIRT, dtb=(("/pcie@10000000", "dma-coherent"),))),
    )
}
