# SPDX-License-Identifier: GPL-2.0-or-later
"""What a record is shown as: text, figures, report. Nothing here measures."""
