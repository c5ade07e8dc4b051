# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept: the shape of records, their files, where they came from, their history."""
