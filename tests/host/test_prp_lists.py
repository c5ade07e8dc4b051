# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver puts into commands, against a model of the controller."""
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
DRIVER = HERE.parent.parent / "kernel/overlay/drivers/nvme/host/dmabuf.h"


def build_and_run(folder: Path, header: str) -> subprocess.CompletedProcess:
    """A copy of the header: quoted includes look beside the includer first."""
    (folder / "dmabuf.h").write_text(header)
    subprocess.run(["cc", "-O2", "-fsanitize=address,undefined", "-o", folder / "prp_lists",
                    f"-I{folder}", f"-I{HERE}/prp", HERE / "prp/prp_lists.c"], check=True)
    return subprocess.run([folder / "prp_lists"], capture_output=True, text=True)


def test_controller_reads_the_right_pages(tmp_path):
    done = build_and_run(tmp_path, DRIVER.read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("right: ")


def test_the_model_notices_a_list_that_ends_in_the_last_slot(tmp_path):
    header, n = re.subn(r"if \(\(slot2 \+ nr\) % per_list != 1\)", "if (1)", DRIVER.read_text())
    assert n == 1
    assert "wrong memory" in build_and_run(tmp_path, header).stdout


def test_the_model_notices_a_list_that_leaves_its_page(tmp_path):
    header, n = re.subn(r"if \(slot \+ nr > per_list\)", "if ((slot + nr) % per_list == 1)", DRIVER.read_text())
    assert n == 1
    assert "leaves its list page" in build_and_run(tmp_path, header).stdout


def test_the_model_notices_a_descriptor_across_a_gap(tmp_path):
    header, n = re.subn(r"map->use_sgl && offset >> map->chunk_shift ==\s+\(offset \+ len - 1\) >> map->chunk_shift",
                        "map->use_sgl", DRIVER.read_text())
    assert n == 1
    assert "spans a gap" in build_and_run(tmp_path, header).stdout


def test_the_model_notices_a_wrong_second_page(tmp_path):
    header, n = re.subn(r"offset \+ first\)", "offset + NVME_CTRL_PAGE_SIZE)", DRIVER.read_text())
    assert n == 1
    assert "PRP2" in build_and_run(tmp_path, header).stdout
