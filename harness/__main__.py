# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m harness VERB: every verb is a module's function behind an argument parser."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from . import fault, guest
from .modes import MODES


def guest_run(args: argparse.Namespace) -> int:
    spec = guest.Spec(kernel=Path(args.kernel), mode=MODES[args.mode], command=args.command,
                      files=guest.user_files(args.files), disk=args.disk, disk_write=args.disk_write,
                      icount=args.icount, memory=args.mem, cpus=args.smp, timeout=args.timeout, append=args.append,
                      qemu_extra=args.qemu_extra)
    with tempfile.TemporaryDirectory(prefix="dmabuf-run-") as scratch:
        return guest.boot(spec, sys.stdout.buffer, Path(args.keep or scratch)).status


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="harness", description=__doc__)
    verbs = top.add_subparsers(metavar="VERB", required=True)

    run = verbs.add_parser("guest-run", help="run one command in a guest", epilog=fault.STATUS_HELP,
                           formatter_class=argparse.RawDescriptionHelpFormatter)
    run.set_defaults(verb=guest_run)
    run.add_argument("command", help="shell command; sees MODE, DEV, DEV2, NULLDEV (disks) and RESULTS (kept files)")
    run.add_argument("--mode", choices=MODES, default="strict")
    run.add_argument("--kernel", default=str(guest.BUILD / "bzImage"), help="another bzImage")
    run.add_argument("--files", default="", metavar="'HOST[=GUEST] ...'",
                     help="files and directories to copy in, to /root unless GUEST says where; libraries follow")
    run.add_argument("--disk", default="1G", help="what DEV is: null, a size (scratch) or an image (default %(default)s)")
    run.add_argument("--disk-write", action="store_true", help="let the guest change the image named by --disk")
    run.add_argument("--icount", action="store_true", help="instruction clock: 2 ns an instruction, one processor")
    run.add_argument("--mem", default="2G")
    run.add_argument("--smp", type=int, default=2)
    run.add_argument("--timeout", type=float, default=300, help="seconds (default %(default)s)")
    run.add_argument("--append", default="", help="more kernel arguments")
    run.add_argument("--qemu-extra", default="", help="more QEMU arguments")
    run.add_argument("--keep", default="", metavar="DIR", help="keep the console log and $RESULTS there")
    return top


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = parser().parse_args()
    try:
        return args.verb(args)
    except fault.Fault as error:
        print(f"harness: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"harness: {error}", file=sys.stderr)
        return fault.Fault.status


if __name__ == "__main__":
    sys.exit(main())
