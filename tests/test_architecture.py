"""Who may import whom, held against the real imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "lsa_audit"
LEAVES = {"errors", "records", "units", "statistics", "targeting", "plain_yaml", "limits", "gates", "explanations"}
LEAVES |= {"interrupts"}
STAGES = {
    "clock",
    "profile",
    "plan",
    "stages",
    "loading",
    "runtime",
    "progress",
    "models",
    "graph",
    "data",
    "attacks",
    "probes",
    "findings",
    "judging",
    "measuring",
    "verdicts",
    "health",
    "examining",
}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "records": {"errors", "gates"},
    "units": {"errors"},
    "plain_yaml": set(),
    "limits": set(),
    "gates": set(),
    "explanations": set(),
    "clock": {"records"},
    "statistics": {"errors", "records"},
    "targeting": {"records", "statistics"},
    "interrupts": set(),
    "locking": {"errors"},
    "progress": {"errors", "interrupts"},
    "writing": {"errors", "locking"},
    "parallel": LEAVES,
    "runtime": LEAVES,
    "profile": LEAVES,
    "findings": LEAVES,
    "report": LEAVES | {"findings"},
    "gate": LEAVES,
    "models": LEAVES,
    "data": LEAVES,
    "graph": LEAVES | {"models.base", "models.parity", "models.peeling", "models.quiet", "models.state"},
    "attacks": LEAVES | {"models.answers", "models.base", "models.state"},
    "probes": LEAVES | {"models.answers", "models.base", "graph"},
    "plan": LEAVES | {"profile", "attacks"},
    "judging": LEAVES | {"attacks", "plan"},
    "verdicts": LEAVES | {"attacks", "judging"},
    "health": LEAVES | {"attacks", "models.parity", "models.state"},
    "loading": LEAVES | {"profile", "progress", "models", "data"},
    "stages": LEAVES | STAGES,
    "examining": LEAVES | STAGES,
    "measuring": LEAVES | STAGES,
    "runs": LEAVES | {"report", "locking"},
    "baselines": LEAVES | {"runs", "gate", "writing"},
    "gallery": LEAVES | STAGES,
    "plausibility": LEAVES | STAGES,
    "verification": LEAVES | STAGES | {"runs"},
    "audit": LEAVES | STAGES | {"gallery", "plausibility"},
    "harden": LEAVES | STAGES | {"runs", "parallel", "writing"},
    "hardening": LEAVES | STAGES | {"audit", "harden", "parallel", "writing"},
    "latest": {"errors", "records", "runs"},
    "doctor": {"errors"},
    "cli": LEAVES
    | {"profile", "audit", "attacks", "data", "findings", "report", "doctor", "runs", "verification", "harden"}
    | {"gate", "baselines", "plan", "writing", "hardening", "latest", "progress", "interrupts", "locking"},
}


def unit_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Dotted names inside the package, e.g. `models.base`, that a file imports."""
    package = ["lsa_audit", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("lsa_audit.") for name in found if name.startswith("lsa_audit.")}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.name.startswith("__"))


def test_every_unit_has_a_line_in_the_table():
    assert {unit_of(path) for path in FILES} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_imports_keep_to_the_table(path):
    unit = unit_of(path)
    for name in imported_modules(path):
        other, _, rest = name.partition(".")
        if other in (unit, "__version__"):
            continue
        inside = f"{other}.{rest.partition('.')[0]}"
        assert other in ALLOWED[unit] or inside in ALLOWED[unit], f"{path.name} must not import {name}"


@pytest.mark.slow_except("lsa_audit", "lsa_audit.data")
@pytest.mark.parametrize(
    "module",
    ["lsa_audit", "lsa_audit.cli", "lsa_audit.attacks", "lsa_audit.data", "lsa_audit.report", "lsa_audit.profile"],
)
def test_importing_leaves_torch_out(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_starts_without_what_only_work_needs():
    heavy = {"numpy", "scipy", "pydantic", "matplotlib", "yaml"}
    code = f"import sys, lsa_audit.cli; sys.exit(', '.join({heavy!r} & set(sys.modules)) or None)"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.stderr == ""


def test_files_stay_readable():
    long = {path.name: count for path in FILES if (count := len(path.read_text().splitlines())) > 330}
    assert long == {}
