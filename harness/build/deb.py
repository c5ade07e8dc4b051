# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package, for the fio that this Debian has: an engine runs in no other."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .. import progress
from ..fault import Fault
from ..paths import BUILD, CACHE, ROOT
from . import cache, deps, products, sources


def version_of_fio(source: Path) -> str:
    return (source / "FIO-VERSION-FILE").read_text().partition("fio-")[2].strip()


def distribution() -> Path:
    """The source of the release that apt would install."""
    said = subprocess.run(["apt-cache", "policy", "fio"], capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}).stdout
    found = re.search(r"Candidate: (?:\d+:)?([\d.]+)", said)
    if not found or found[1] not in sources.FIO_SUITES:
        raise Fault(f"no source is known for {found[1] if found else 'the'} fio of this system, only for "
                    f"{', '.join(sources.FIO_SUITES)}: name a source tree with FIO_SRC=")
    return sources.fio_release(found[1], sources.FIO_SUITES[found[1]])


def make(fio_source: str) -> Path:
    """build/deb/*.deb"""
    deps.install(deps.DEB, alone=True)
    tree = sources.fio(fio_source) if fio_source else distribution()
    with products.lock("engine"), cache.scratch("deb") as scratch:  # debhelper wants no blanks either
        stage = Path(scratch) / "fio-dmabuf"
        shutil.copytree(ROOT / "engines", stage / "engines", ignore=shutil.ignore_patterns("*.o", "*.d", "*.so"))
        shutil.copytree(ROOT / "packaging/debian", stage / "debian")
        shutil.copytree(ROOT / "kernel/overlay/include", stage / "kernel/overlay/include")
        products.fio(tree)
        changelog = stage / "debian/changelog"
        # The same source makes a package for each release of fio; its name says which.
        changelog.write_text(re.sub(r"\(([^)]*)\)", rf"(\1+fio{version_of_fio(tree)})", changelog.read_text(), count=1))
        progress.run("building the package", ["dpkg-buildpackage", "-b", "-us", "-uc", "-tc"], CACHE / "log/deb", cwd=stage,
                     env={"FIO_SRC": str(tree)})
        package, = Path(scratch).glob("fio-dmabuf_*.deb")
        (BUILD / "deb").mkdir(parents=True, exist_ok=True)
        for old in (BUILD / "deb").glob("*.deb"):
            old.unlink()
        return Path(shutil.copy(package, BUILD / "deb"))
