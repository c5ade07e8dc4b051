# SPDX-License-Identifier: GPL-2.0-or-later
"""What is built, and what it is built from: packages, sources, kernel, fio and programs."""
