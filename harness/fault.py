# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that can stop a verb, with the exit status it stops with.

0..239 belong to the program that ran in the guest.
"""


class Fault(Exception):
    """A cause and its remedy in one sentence."""

    status = 240


class WrongMode(Fault):
    status = 241


class TimedOut(Fault):
    status = 242


class Splat(Fault):
    status = 243


class LostGuest(Fault):
    status = 244


STATUS_HELP = """\
exit status: the program's own (0..239; 128+n if signal n killed it), or
  240  the harness could not do what was asked (one sentence says why)
  241  the guest's IOMMU mode is not the one asked for
  242  TIMEOUT passed
  243  the kernel complained (BUG, WARNING, Oops, lockdep, hung task, ...)
  244  the guest died without a status
`make` itself turns every non-zero status into 2; call
`python3 -m harness guest-run` to see it unchanged."""
