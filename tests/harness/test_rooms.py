# SPDX-License-Identifier: GPL-2.0-or-later
"""The rooms of harness/ and the arrows between them: each uses what stands before it, and nothing goes round."""

import ast
import builtins
import graphlib
import shutil
import subprocess
import symtable
import sys
from pathlib import Path

import pytest

from harness.paths import ROOT

ROOMS = ("", "build", "machine", "record", "measure", "judge", "show", "check")  # "": what all may use


def imports(tree: Path) -> dict[str, set[str]]:
    """Module -> those of the harness that it imports, wherever in it; the command line and empty packages left out."""
    known = {".".join(path.relative_to(tree).with_suffix("").parts): path for path in tree.rglob("*.py")}
    found = {}
    for name, path in known.items():
        if name in ("__init__", "__main__") or name.endswith(".__init__"):
            continue
        found[name] = set()
        package = name.split(".")[:-1]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(each.name.startswith("harness") for each in node.names), f"{name}: relative imports only"
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("harness"), f"{name}: relative imports only"
            if isinstance(node, ast.ImportFrom) and node.level:
                place = [*package[:len(package) - node.level + 1], *filter(None, [node.module])]
                for each in node.names:
                    module = ".".join([*place, each.name])
                    found[name].add(module if module in known else ".".join(place))
    return found


def hidden(tree: Path) -> list[str]:
    """Imports of the harness inside functions, but for the command line's: what that shows with may only just have been installed."""
    return [f"{path.relative_to(tree)}:{inner.lineno}" for path in tree.rglob("*.py") if path.stem != "__main__"
            for function in ast.walk(ast.parse(path.read_text())) if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
            for inner in ast.walk(function) if isinstance(inner, ast.ImportFrom) and inner.level]


def room(module: str) -> str:
    return module.rpartition(".")[0]


def wrong(tree: Path) -> list[str]:
    arrows = imports(tree)
    found = [f"{name} imports {each}" for name, uses in arrows.items() for each in sorted(uses)
             if ROOMS.index(room(each)) > ROOMS.index(room(name)) or each == "__main__"]
    found += [f"{place} imports inside a function" for place in hidden(tree)]
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        found.append(f"a circle: {' '.join(error.args[1])}")
    return found


def test_arrows_go_one_way():
    assert len(imports(ROOT / "harness")) > 40 and wrong(ROOT / "harness") == []


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "harness"


@pytest.mark.parametrize("module, line, says", (
    ("measure/cost.py", "from ..show import plot", "measure.cost imports show.plot"),
    ("measure/cost.py", "def f():\n    from ..judge.goals import goals", "measure.cost imports judge.goals"),
    ("record/store.py", "from . import runs", "a circle: "),
    ("show/plot.py", "def f():\n    from . import report", "show/plot.py:"),
    ("fault.py", "from .build import sources", "fault imports build.sources"),
    ("check/abi.py", "from ..__main__ import main", "check.abi imports __main__"),
))
def test_what_goes_round_is_seen(copy, module, line, says):
    (copy / module).write_text((copy / module).read_text() + f"\n\n{line}\n")
    assert any(found.startswith(says) for found in wrong(copy))


def test_the_command_line_starts_where_nothing_is_installed():
    """numpy, scipy, matplotlib and jinja2 come with `make deps`: what imports them is imported after it."""
    code = "import sys; from harness import __main__; print(sorted({'numpy', 'scipy', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"


def undefined(text: str, name: str) -> set[str]:
    """Names that functions of a module take for global, and that nothing in it makes."""
    top = symtable.symtable(text, name, "exec")
    made = {each.get_name() for each in top.get_symbols() if each.is_assigned() or each.is_imported() or each.is_namespace()}
    used, tables = set(), [top]
    while tables:
        table = tables.pop()
        used |= {each.get_name() for each in table.get_symbols() if each.is_referenced() and each.is_global()}
        tables += table.get_children()
    return used - made - set(dir(builtins)) - {"__file__", "__doc__", "__name__", "__package__"}


@pytest.mark.parametrize("path", sorted((ROOT / "harness").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_name_is_made_somewhere(path):
    """What moves takes the uses of its name along: a verb that nobody runs would be the last to tell."""
    assert undefined(path.read_text(), path.name) == set()


def test_a_name_that_is_not_is_seen():
    assert undefined("import a\ndef f(x):\n    y = a.b(x)\n    return [c for z in y if len(z)]\n", "x") == {"c"}
