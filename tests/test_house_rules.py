"""Rules of the house that no linter knows."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from novai_web import tools

ROOT = Path(__file__).parent.parent
MODULES = sorted([*ROOT.glob("novai_web/**/*.py"), *ROOT.glob("tasks/**/*.py"), ROOT / "wsgi.py"])
TEMPLATES = sorted(ROOT.glob("templates/**/*.html"))
HEAVY = ("av", "PIL", "numpy", "supabase", "storage3", "httpx", "fontTools", "c2pa")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
TEMPLATE_LINES_MAX = 120
TOOL_MACHINERY_LINES_MAX = 180
DOORS = {"pages", "api", "cli", "web", "tasks", "jobs", "db.py", "embedded"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_module = pytest.mark.parametrize("path", MODULES, ids=named)


@every_module
def test_a_module_has_one_subject_that_its_first_sentence_names(path):
    source = path.read_text()
    assert len(source.splitlines()) <= MODULE_LINES_MAX
    assert ast.get_docstring(ast.parse(source)), "a module introduces itself in one sentence"


@every_module
def test_functions_fit_on_a_screen(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is too long"


@every_module
def test_nothing_swallows_what_it_does_not_know(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            catches_all = node.type is None or (isinstance(node.type, ast.Name) and "Exception" in node.type.id[-9:])
            assert not (catches_all and all(isinstance(line, ast.Pass) for line in node.body)), node.lineno


@every_module
def test_only_doors_and_jobs_open_transactions(path):
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    if "transaction" in names:
        assert DOORS & set(path.relative_to(ROOT / "novai_web" if "novai_web" in path.parts else ROOT).parts)


def test_nothing_is_called_utils():
    forbidden = {"utils", "helpers", "common", "misc", "services", "managers", "util", "helper"}
    assert not [named(path) for path in (*MODULES, *TEMPLATES) if forbidden & {*path.parts, path.stem}]


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_a_template_is_short_and_carries_no_script_and_no_style(path):
    source = path.read_text()
    assert len(source.splitlines()) <= TEMPLATE_LINES_MAX
    assert not re.search(r"\son[a-z]+\s*=|javascript:|\sstyle\s*=|<style", source)
    assert not re.search(r"<script(?![^>]*\ssrc=)(?![^>]*application/json)", source)


def test_what_makes_a_tool_stays_small():
    source = (ROOT / "novai_web/tools/tool.py").read_text()
    assert len(source.splitlines()) <= TOOL_MACHINERY_LINES_MAX


@pytest.mark.parametrize("tool", tools.TOOLS, ids=lambda tool: tool.slug)
def test_a_tool_is_named_only_in_its_own_module_and_in_its_doors(tool):
    """Its module, its template, the views it needs beyond the generic ones, its command."""
    name = tool.slug.replace("-", "_")
    own = {f"tools/{name}", f"pages/{name}.py", f"cli/{name}.py", "tools/__init__.py"}
    quoted = re.compile(rf"""["']{re.escape(tool.slug)}["']""")
    house = [path for path in MODULES if "engines" not in path.parts]  # which know no tools, only words
    found = [named(path) for path in house if quoted.search(path.read_text())]
    assert not [name for name in found if not any(part in name for part in own)]


@pytest.mark.parametrize("module", ["novai_web.app", "novai_web.embedded.__main__"])
def test_what_serves_pages_starts_without_heavy_libraries(module):
    code = f"import json, sys, {module}; print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1]) == []


def test_nothing_is_left_to_be_done():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert not [named(path) for path in (*MODULES, *TEMPLATES) if marks.search(path.read_text())]
