# SPDX-License-Identifier: GPL-2.0-or-later
"""What an I/O can make the kernel do that is known to be dear; measure/calls.py counts it."""

TITLES = {"map": "IOMMU maps", "unmap": "IOMMU unmaps", "flush": "IOTLB flushes", "iova": "IOVAs allocated",
          "command": "NVMe commands", "dma_pool": "dma_pool_alloc", "mempool": "mempool_alloc", "rebuild": "maps rebuilt",
          "eagain": "-EAGAIN", "device_interrupt": "NVMe interrupts", "timer_interrupt": "timer ticks"}
# A tick comes when its time has come, whatever the I/O did.
OF_THE_IO = tuple(name for name in TITLES if name != "timer_interrupt")
