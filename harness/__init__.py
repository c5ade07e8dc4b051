# SPDX-License-Identifier: GPL-2.0-or-later
"""Build, boot, measure: what turns the kernel series and the engine into results."""
