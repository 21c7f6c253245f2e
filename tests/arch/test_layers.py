"""The boundaries that the import linter cannot see, and the size budgets."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "tickhandler_dagster"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_POSITIONAL = 5
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager"}


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _printed(code: str) -> str:
    """What a new interpreter prints: this one has everything loaded already."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOWER = ["market", "adapters", "client", "pipeline", "reporting", "sandbox", "settings"]


@pytest.mark.parametrize("layer", LOWER)
def test_importing_a_lower_layer_loads_no_dagster(layer):
    code = (
        "import importlib, pkgutil, sys\n"
        f"module = importlib.import_module('tickhandler_dagster.{layer}')\n"
        "path = getattr(module, '__path__', [])\n"
        "for found in pkgutil.walk_packages(path, module.__name__ + '.'):\n"
        "    importlib.import_module(found.name)\n"
        "print([name for name in sys.modules if name.split('.')[0].startswith('dagster')])\n"
    )
    assert _printed(code) == "[]"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_opens_with_its_charter_and_stays_small(path):
    source = path.read_text(encoding="utf-8")
    assert path.stem not in BANNED_NAMES
    assert ast.get_docstring(ast.parse(source)), f"{_name(path)} does not say what lives in it"
    assert len(source.splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_functions_stay_small(path):
    for node in _functions(ast.parse(path.read_text(encoding="utf-8"))):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        positional = [
            a for a in node.args.posonlyargs + node.args.args if a.arg not in {"self", "cls"}
        ]
        assert length <= MAX_FUNCTION_LINES, f"{_name(path)}:{node.name} has {length} lines"
        assert len(positional) <= MAX_POSITIONAL, (
            f"{_name(path)}:{node.name} takes {len(positional)}"
        )


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=_name)
def test_an_init_is_a_docstring_or_a_registry(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    assert all(isinstance(node, allowed) for node in tree.body)


# Where a fault nobody foresaw in one notifier must not stop the messages of the others, and one of
# Dagster's storage must not stop a live session.
BOUNDARIES = {
    PACKAGE / "pipeline" / "alerting.py",
    PACKAGE / "automation" / "live_reports.py",
}


@pytest.mark.parametrize("path", [path for path in MODULES if path not in BOUNDARIES], ids=_name)
def test_no_broad_except(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in {"everything", "Exception", "BaseException"}, (
                f"{_name(path)}:{node.lineno}"
            )


def test_loading_the_definitions_pays_for_nothing_that_only_runs_need():
    code = (
        "import sys\n"
        "from tickhandler_dagster.definitions import build_definitions\n"
        "from tickhandler_dagster.settings import Settings\n"
        "build_definitions(Settings()).get_repository_def()\n"
        "heavy = ('pandera', 'pandas', 'aiohttp', 'matplotlib', 'tardis_dev', "
        "'google.cloud.bigquery', 'google.auth', 'duckdb', 'obstore', 'dbt', 'dagster_dbt', "
        "'slack_sdk', 'playwright')\n"
        "print(sorted(set(heavy) & set(sys.modules)))\n"
    )
    assert _printed(code) == "[]"
