# SPDX-License-Identifier: GPL-2.0-or-later
"""Does it work: the test suite, other releases of fio and Debian, this machine."""
