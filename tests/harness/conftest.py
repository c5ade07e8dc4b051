# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes `import harness` work from wherever pytest is started."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture
def data():
    return Path(__file__).parent / "data"
