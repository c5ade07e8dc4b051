# SPDX-License-Identifier: GPL-2.0-or-later
"""What others measured on hardware, and said in public.  None of it is ours."""

SOURCE = "A. Gupta, linux-nvme, November 2025"
MACHINE = "4 KiB reads of one Optane drive, udmabuf, patched t/io_uring; clock and cores were not said"
IOPS = {"strict": 0.57e6, "lazy": 1.93e6, "passthrough": 5.01e6}  # of user memory
IOPS_DMABUF = 5.01e6  # with a registered dma-buf, in each mode


def rate(value: float) -> str:
    return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.0f}K"
