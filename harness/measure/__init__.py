# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted and timed. Each measures a plan and returns its record."""
