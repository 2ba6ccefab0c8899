from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from lsa_audit.records import AuditRecord
from lsa_audit.reporting import terminal

from .neuron_records import LAYERS


def printed(shown: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(shown)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


@pytest.mark.slow_for("large-80", "large-200")
@pytest.mark.parametrize("width", [80, 200])
def test_nothing_is_wider_than_80_columns(any_record: AuditRecord, width: int) -> None:
    for shown in (terminal.summary(any_record), terminal.layers_table(any_record.graph)):
        assert max(cell_len(line) for line in printed(shown, width).splitlines()) <= 80


def test_no_escape_sequence_reaches_the_terminal(samples: dict[str, AuditRecord]) -> None:
    text = printed(terminal.summary(samples["hostile"])) + printed(terminal.layers_table(samples["hostile"].graph))
    assert all(line.isprintable() for line in text.splitlines())
    assert "\\x1b[31m" in text


def test_the_layers_fit_without_wrapping(samples: dict[str, AuditRecord]) -> None:
    for name in ("clean", "large"):
        graph = samples[name].graph
        lines = printed(terminal.layers_table(graph)).splitlines()
        # Two lines of head, a rule, the layers, a blank line, the totals.
        assert len(lines) == 3 + len(graph.layers) + 2
        assert lines[-1].split()[:2] == [str(len(graph.layers)), "layers"]
        assert f"{sum(layer.parameters for layer in graph.layers):,}" in lines[-1]


def test_layers_that_were_not_walked_are_told(samples: dict[str, AuditRecord]) -> None:
    assert "not walked: layer stem.add" in printed(terminal.layers_table(samples["skipped"].graph))


def test_the_neurons_of_several_layers_take_a_row_each(samples: dict[str, AuditRecord]) -> None:
    text = printed(terminal.summary(samples["every-layer"]))
    table = text[text.index("Neurons of 16 layers") : text.index("11 more layers")]
    rows = table[table.rindex("─") + 1 :].split("\n")[1:-1]
    assert [row.split()[0] for row in rows] == list(LAYERS[: terminal.LAYER_ROWS])
    assert "targeting score  " not in text


def test_a_cut_neuron_table_tells_how_many_are_left(samples: dict[str, AuditRecord]) -> None:
    assert "54 more neurons with smaller drops." in printed(terminal.summary(samples["large"]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("findings", "The robustness figures are inconclusive, not robust."),
        ("findings", "37 zero gradient"),
        ("self-labels", "the data has 10 classes, the model 1,000"),
        ("empty-mvl", "empty: no layer above mu + eta sigma; highest, below threshold:"),
        ("nothing-known", "unknown: mu and sigma could not be computed"),
        ("skipped", "layer stem.add: No dimension is the batch."),
        ("two-norms", "l2"),
        ("clean-only", "86.8"),
        ("clean", "attack health: not run"),
        ("ensembles", "attack health: fine"),
        ("masked", "attack health: 6 errors, 4 warnings; the worst is random-outputs"),
        ("masked", "(zero-gradients)"),
        ("ensembles", "fab-t linf: median distance 0.0121"),
        ("every-layer", "In 5 of 16 layers the attack moves a neuron the more, the more the model depends on it"),
        ("every-layer", "11 more layers with 0 fragile neurons in all"),
        ("every-layer", "Spearman's rho 0.91"),
        ("every-layer", "layer4.0.conv2 put back returns 76.9 % (70.3\N{EN DASH}82.4 %) of them, the most of 15"),
        ("every-layer", "high-pass \N{MINUS SIGN}0.021 / \N{MINUS SIGN}0.17; low-pass"),
    ],
)
def test_what_must_be_said_is_said(name: str, expected: str, samples: dict[str, AuditRecord]) -> None:
    assert expected in " ".join(printed(terminal.summary(samples[name])).split())


@pytest.mark.parametrize(
    "name", ["clean", "findings", "skipped", "hostile", "large", "ensembles", "masked", "every-layer"]
)
def test_gold(name: str, samples: dict[str, AuditRecord], check_gold: Callable[[str, str], None]) -> None:
    check_gold(f"{name}.txt", printed(terminal.summary(samples[name])))
