# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver puts into commands, against models of controllers."""
import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DRIVER = HERE.parent.parent / "kernel/overlay/drivers/nvme/host"


def build_and_run(folder: Path, change: tuple[str, str, str] | None = None, page_shift: int = 12) -> subprocess.CompletedProcess:
    """The driver's files without what they include of the kernel."""
    for name in ("dmabuf.c", "dmabuf.h"):
        text = re.sub(r'#include (<.*>|"nvme.h")\n', "", (DRIVER / name).read_text())
        if change and change[0] == name:
            assert text.count(change[1]) == 1, change
            text = text.replace(change[1], change[2])
        (folder / name).write_text(text)
    sanitizers = [] if change else ["-fsanitize=address,undefined"]
    subprocess.run(["cc", "-O2", *sanitizers, f"-DPAGE_SHIFT={page_shift}", "-o", folder / "prp_lists",
                    f"-I{folder}", f"-I{HERE}/prp", HERE / "prp/prp_lists.c"], check=True)
    return subprocess.run([folder / "prp_lists"], capture_output=True, text=True)


@pytest.mark.parametrize("page_shift", [12, 16])
def test_controllers_read_the_right_pages(tmp_path, page_shift):
    done = build_and_run(tmp_path, page_shift=page_shift)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("right: ")


@pytest.mark.parametrize("name, text, instead, complaint", [
    ("dmabuf.h", "if (slot % per_page + nr > per_page)\n\t\t\treturn false;", "", "no list is in one page"),
    ("dmabuf.h", "if (slot % per_page + nr > per_page) {\n\t\tslot", "if (0) {\n\t\tslot", "no list is in one page"),
    ("dmabuf.h", "sgl && offset >> map->chunk_shift ==\n\t\t   (offset + len - 1) >> map->chunk_shift", "sgl", "spans a gap"),
    ("dmabuf.h", "if (sgl && offset", "if (offset", "a controller that takes none"),
    ("dmabuf.h", "(offset |\n\t\t\t\t(NVME_CTRL_PAGE_SIZE - 1)) + 1", "offset + NVME_CTRL_PAGE_SIZE", "PRP2"),
    ("dmabuf.h", "if (!map->list_dma)\n\t\treturn false;\n", "", ""),
    ("dmabuf.h", "if (unlikely(map->need_sync))", "", "without need"),
    ("dmabuf.c", "per_page - 1 : left", "per_page : left", "page"),
    ("dmabuf.c", "left > per_page ?", "left >= per_page ?", "wrong memory"),
    ("dmabuf.c", "link = &list[per_page - 1];", "link = &list[per_page - 2];", ""),
    ("dmabuf.c", "+ per_page / 2;", "+ per_page / 4;", "page"),
    ("dmabuf.c", "if (nr_prps > per_page)", "if (nr_prps > 2 * per_page)", "page"),
    ("dmabuf.c", "breaks |= pos;", "breaks = pos;", "PRP2 is for other memory"),
    ("dmabuf.c", "sg_dma_address(sg) - start", "sg_dma_address(sg)", "something else"),
    ("dmabuf.c", "nvme_dmabuf_free_list(pool, descriptors, nr,", "(void)(", "pages left"),
    ("dmabuf.c", " && sgt->orig_nents", "", "without need"),
    ("dmabuf.c", "min_t(unsigned int, len,", "min_t(unsigned int, len, 2 *", "something else"),
])
def test_the_models_notice(tmp_path, name, text, instead, complaint):
    done = build_and_run(tmp_path, (name, text, instead))
    assert done.returncode
    assert complaint in done.stdout
