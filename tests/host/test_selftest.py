# SPDX-License-Identifier: GPL-2.0-or-later
"""The series' selftest builds, against the kernel that it is for, and skips with a reason where it cannot run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "tools/testing/selftests/drivers/dma-buf"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """As `make -C tools/testing/selftests` would, from the files that it needs."""
    sys.path.insert(0, str(ROOT))
    from harness.build import sources
    base = sources.CACHE / "src" / f"linux-{sources.base()['debian-sha256'][:16]}"
    if not base.exists():
        pytest.skip("no kernel source in the cache: `make sources` gets it")
    tree = tmp_path_factory.mktemp("kernel")
    subprocess.run([sys.executable, ROOT / "kernel/series.py", "apply", "--base", base, "--out", tree], check=True)
    for name in ("tools/testing/selftests/kselftest.h", "tools/include/io_uring/mini_liburing.h", "include/uapi/linux/io_uring/zcrx.h"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(base / name, tree / name)
    headers = tree / "headers/linux"
    (headers / "io_uring").mkdir(parents=True)
    for name in ("io_uring.h", "io_uring/dmabuf.h", "io_uring/zcrx.h"):
        shutil.copy(tree / "include/uapi/linux" / name, headers / name)
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-sign-compare", "-Wno-missing-field-initializers",
                    "-isystem", str(headers.parent), "-o", str(tree / "dma_buf_io"), str(tree / FOLDER / "dma_buf_io.c")], check=True)
    return tree / "dma_buf_io"


def test_it_needs_a_disk_and_says_so(program):
    environment = {name: value for name, value in os.environ.items() if name != "DISK"}
    for words, says in (((), "name a disk"), (("/nonexistent",), "/nonexistent: No such file")):
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 4 and re.search(rf"^1\.\.0 # SKIP {says}", done.stdout, re.M)


def test_its_plan_is_what_it_does(program):
    """Which a guest shows as well, but only there."""
    text = (ROOT / "kernel/overlay" / FOLDER / "dma_buf_io.c").read_text()
    assert len(re.findall(r"\bksft_test_result\(", text)) == int(re.search(r"ksft_set_plan\((\d+)\)", text)[1])
