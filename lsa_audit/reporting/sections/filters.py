"""Synaptic filters: what the model still gets right without the weights on one side of a threshold."""

from __future__ import annotations

from collections.abc import Iterator

from ...page import text
from ...page.view import Column, Paragraph, Row, Section, Table
from ...records import AuditRecord, FilterCurve, FilteredWeights, Filters
from .. import selection

ROW_LIMIT = 60
FEW_IMAGES = 30
FILTERS = (
    "A filter sets weights of a layer to zero: high-pass those up to a threshold, low-pass those from a threshold on, "
    "pulse those in a narrow band around it. The threshold moves in even steps over the range of the layer's weights: "
    "downwards for low-pass, upwards for the others. Biases stay. The attack is made anew for every filtered model."
)
SCORES = (
    "All scores are averages over the thresholds (Simpson's rule). Clean: accuracy minus the share of the weights that "
    "are left, where accuracy is a share of that at the first threshold. Attack: the same under the attack. Attack "
    "\N{MINUS SIGN} clean: the second accuracy minus the first."
)
SIGNS = (
    "Below 0 the model loses more than its share of the weights (fragile), near 0 as much (robust), above 0 less "
    "(antifragile). Attack \N{MINUS SIGN} clean below 0: the weights matter more under attack than without."
)
SCORE_NAMES = ("clean", "attack", "attack \N{MINUS SIGN} clean")


def section(record: AuditRecord) -> Section | None:
    """The scores of the network and of each layer; None where no filter was measured."""
    filters = record.filters
    if filters is None:
        return None
    paragraphs = (FILTERS, SCORES, SIGNS, unfiltered_sentence(record, filters), floor_sentence(filters))
    return Section("filters", "Synaptic filters", (*map(Paragraph, paragraphs), score_table(filters)))


def unfiltered_sentence(record: AuditRecord, filters: Filters) -> str:
    """What the filtered models are compared with, and on how many images that rests."""
    attack = selection.labels(record).get(filters.perturbation, text.name(filters.perturbation))
    few = filters.adversarial.count < FEW_IMAGES
    return (
        f"Unfiltered, the {record.accuracy_name} on {text.quantity(filters.samples, 'image')} is "
        f"{text.percent(filters.clean.value)} ({text.interval(filters.clean)}), and under {attack} "
        f"{text.percent(filters.adversarial.value)} ({text.interval(filters.adversarial)})."
        + (" The scores under attack rest on few images: they are shares of a small number." if few else "")
    )


def floor_sentence(filters: Filters) -> str:
    """What the accuracies do not fall below, which raises the scores."""
    curve = filters.network.curves[0]
    clean, attacked = (text.percent(last / first if first else None) for first, last in _ends(curve))
    return (
        "At the last threshold all these weights are zero, and the network gives nearly every image the same answer, "
        f"which is right for some, attacked or not: {clean} of the accuracy at the first threshold of {curve.filter}, "
        f"and {attacked} of that under attack. The larger this share, the higher the scores, without any robustness."
    )


def _ends(curve: FilterCurve) -> Iterator[tuple[float, float]]:
    for accuracies in (curve.clean, curve.adversarial):
        yield accuracies[0], accuracies[-1]


def score_table(filters: Filters, limit: int = ROW_LIMIT) -> Table:
    """All layers together, then each in the order of execution; beyond the limit those with the lowest clean scores."""
    columns = (
        Column("weights of", "name"),
        Column("weights", "number"),
        *(Column(f"{curve.filter}, {score}", "number") for curve in filters.network.curves for score in SCORE_NAMES),
    )
    ranked = sorted(filters.layers, key=_lowest_clean_score)
    shown = {entry.layer for entry in ranked[: limit - 1]}
    rows = (_row(filters.network), *(_row(entry) for entry in filters.layers if entry.layer in shown))
    left_out = len(ranked) - len(shown)
    note = f"{text.quantity(left_out, 'more layer')} with higher clean scores: see record.json." if left_out else ""
    return Table("Scores of the synaptic filters in depth order", columns, rows, note)


def _lowest_clean_score(entry: FilteredWeights) -> float:
    return min((curve.clean_score for curve in entry.curves if curve.clean_score is not None), default=float("inf"))


def _row(entry: FilteredWeights) -> Row:
    name = "all layers together" if entry.layer is None else text.name(entry.layer)
    scores = (text.number(None if score is None else round(score, 3)) for score in _scores(entry))
    return Row((name, f"{entry.weights:,}", *scores))


def _scores(entry: FilteredWeights) -> Iterator[float | None]:
    for curve in entry.curves:
        yield from (curve.clean_score, curve.adversarial_score, curve.difference_score)
