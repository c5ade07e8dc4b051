# SPDX-License-Identifier: GPL-2.0-or-later
"""What a record, or two, say: statistics, claims, goals, regressions."""
