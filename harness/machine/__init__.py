# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured on: a guest of QEMU in each IOMMU mode, or a disk of this machine."""
