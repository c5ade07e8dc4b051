# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are: the checkout, what is built in it, and the cache beside it."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
RESULTS = ROOT / "results"
HISTORY = RESULTS / "history"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dmabuf-bench"
