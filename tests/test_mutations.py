"""The faults of `benchmarks.mutations`: of every kind, drawn alike from the same code, gone when they were tried."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.mutations.drawing import draw
from benchmarks.mutations.page import page
from benchmarks.mutations.sites import KINDS, Mutation, changes, mutations
from benchmarks.mutations.trial import copied, selection

ROOT = Path(__file__).resolve().parent.parent
SOURCE = """
def area(width: "int | str", height, bias=None):
    if width < 0:
        raise ValueError("-1 and 2 are words, and stay")
    total = width * height + 1 - 0.5
    return join(width, height) if width and height else run(total, bias, keep=True)
"""


def found(kind: str) -> set[str]:
    return {entry.after for entry in mutations("area.py", SOURCE.encode()) if entry.kind == kind}


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("sign", "total = (width * height + 1 + 0.5)"),
        ("sign", "total = (width / height) + 1 - 0.5"),
        ("bound", "if (width <= 0):"),
        ("one more", "total = width * height + 2 - 0.5"),
        ("missing bias", "return join(width, height) if width and height else run(total, None, keep=True)"),
        ("dropped term", "total = (width * height) - 0.5"),
        ("dropped check", "if False:"),
        ("swapped arguments", "return join(height, width) if width and height else run(total, bias, keep=True)"),
        ("changed constant", "total = width * height + 1 - 1.0"),
        ("changed constant", "return join(width, height) if width and height else run(total, bias, keep=False)"),
        ("and for or", "return join(width, height) if ((width) or (height)) else run(total, bias, keep=True)"),
    ],
)
def test_a_fault_of_each_kind_is_put_in(kind, after):
    assert after in found(kind)


def test_every_fault_is_another_program_and_words_stay():
    for entry in mutations("area.py", SOURCE.encode()):
        assert changes(entry, SOURCE.encode())
        changed = entry.applied(SOURCE.encode()).decode()
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(SOURCE))
        assert '"-1 and 2 are words, and stay"' in changed
        assert '"int | str"' in changed
        assert entry.scope == "area"


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "lsa_audit").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "lsa_audit/__init__.py").touch()
    (tmp_path / "lsa_audit/area.py").write_text("def larger(a, b):\n    return a < b\n")
    return tmp_path


def test_a_draw_hangs_on_seed_and_code_and_not_on_the_lines_above(tmp_path):
    path = tmp_path / "area.py"
    path.write_text(SOURCE)
    first = draw(tmp_path, mutations("area.py", SOURCE.encode()), 9, seed=1)
    assert {entry.kind for entry in first} == set(KINDS)
    moved = "import math\n" + SOURCE
    path.write_text(moved)
    assert [entry.key for entry in draw(tmp_path, mutations("area.py", moved.encode()), 9, seed=1)] == [
        entry.key for entry in first
    ]
    assert draw(tmp_path, mutations("area.py", moved.encode()), 9, seed=2) != first


def only(project: Path) -> Mutation:
    (entry,) = mutations("lsa_audit/area.py", (project / "lsa_audit/area.py").read_bytes())
    return entry


BROKEN = "def test_that_always_fails():\n    assert False\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tests", "stage", "test"),
    [
        (
            "from lsa_audit.area import larger\n\n\ndef test_equal():\n    assert not larger(1, 1)\n",
            "near",
            "tests/test_area.py::test_equal",
        ),
        ("from lsa_audit.area import larger\n\n\ndef test_less():\n    assert larger(1, 2)\n\n\n" + BROKEN, None, ""),
    ],
    ids=["noticed", "a survivor beside a test that fails anyway"],
)
def test_a_fault_is_noticed_by_tests_that_pass_without_it(project, tmp_path_factory, tests, stage, test):
    (project / "tests/test_area.py").write_text(tests)
    with copied(project, tmp_path_factory.mktemp("copy"), 1) as place:
        verdict = place.try_out(only(project), "near")
        assert (verdict.stage, verdict.test) == (stage, test)
        assert (place.root / "lsa_audit/area.py").read_text() == (project / "lsa_audit/area.py").read_text()


def test_the_tests_of_a_file_come_first_then_its_folders():
    near = selection(ROOT, "near", "lsa_audit/attacks/pgd.py")
    assert near is None or all(name.startswith("tests/") for name in near)
    assert selection(ROOT, "near", "lsa_audit/scanning/attacking.py")[0] == "tests/scanning/test_attacking.py"
    assert selection(ROOT, "folder", "lsa_audit/attacks/pgd.py") == ["tests/attacks"]
    assert "--ignore=tests/attacks" in selection(ROOT, "folder", "lsa_audit/units.py")
    assert selection(ROOT, "default", "lsa_audit/scanning/attacking.py") == []


def test_the_page_counts_what_was_noticed_and_where(project):
    entry = only(project)
    results = [
        (entry, {"stage": stage, "test": "tests/test_area.py::test_equal", "last": "slow"})
        for stage in ("near", "slow", None)
    ]
    text = page(results, [], 15)
    assert "The default tests notice 1 of 3, the default and the slow tests 2." in text
    assert text.count("survived (slow)") == 1
