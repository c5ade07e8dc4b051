# SPDX-License-Identifier: GPL-2.0-or-later
"""How often an I/O makes the kernel do what is known to be dear: exact, by the calls of functions."""

from .attribution import Window

# The first group of functions that this kernel has; their calls add up. A static function may be inlined in another
# build, hence alternatives; if there is none the count is null, never 0.
CALLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "map": (("iommu_map_nosync",),),
    "unmap": (("__iommu_unmap",), ("iommu_unmap", "iommu_unmap_fast")),
    "flush": (("qi_submit_sync",),),  # VT-d's, the only IOMMU that cost is measured on
    "iova": (("alloc_iova_fast",),),
    "command": (("nvme_setup_cmd",),),
    "dma_pool": (("dma_pool_alloc",),),
    "mempool": (("mempool_alloc_noprof",), ("mempool_alloc",)),
    "rebuild": (("dma_buf_io_make_map",),),
    "device_interrupt": (("nvme_irq",),),
    "timer_interrupt": (("sysvec_apic_timer_interrupt",),),
}


def count(window: Window, ios: int, eagain: int) -> dict[str, float | None]:
    """Each per I/O."""
    found: dict[str, float | None] = {}
    for name, alternatives in CALLS.items():
        functions = next((group for group in alternatives if all(each in window.calls for each in group)), None)
        found[name] = None if functions is None else sum(window.calls[each] for each in functions) / ios
    return found | {"eagain": eagain / ios}
