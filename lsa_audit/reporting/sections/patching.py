"""Activation patching: which layers carry the attack, and whether their fragile neurons do."""

from __future__ import annotations

from collections.abc import Sequence

from ...page import text
from ...page.view import Block, Column, Paragraph, Row, Section, Table
from ...records import AuditRecord, Correlation, LayerMeasure, PatchedLayer, PatchedNeurons, Patching, Sustainability
from .. import selection

ROW_LIMIT = 60
SIGNIFICANCE = 0.05
GROUPS: dict[PatchedNeurons, str] = {
    "fragile": "fragile",
    "most-targeted": "most targeted",
    "least-targeted": "least targeted",
    "random": "random",
}
MEANINGS = (
    "The clean activation of one layer is put back into the forward of attacked images, and the model runs on from "
    "there. Returned: the share of the lost images (right when clean, wrong when attacked) that are right again. "
    "The more returns, the more of the attack leads through the layer; but near the output a clean activation holds "
    "the answer itself, so that much returns there in any case.",
    "By construction: every path to the logits leads through the layer, so the patched forward is the clean one and "
    "everything returns. That says nothing of the layer, and it is left out of the rank correlation. Layers in a row "
    "on one branch return the same share, as what is put back first makes the rest of the branch clean.",
)
GROUPS_MEANING = (
    "Only some neurons of the layer are put back, as many in each group; in % with the 95 % interval. Fragile: on "
    "clean images. Targeted: by the targeting score. Random: one draw among all neurons of the layer."
)


def section(record: AuditRecord) -> Section | None:
    """What returned, by layer and by group of neurons; None where nothing was patched."""
    patching = record.patching
    if patching is None:
        return None
    blocks: list[Block] = [Paragraph(meaning) for meaning in MEANINGS]
    blocks += [Paragraph(lost_sentence(record, patching)), layer_table(record, patching)]
    blocks.append(Paragraph(correlation_sentence(patching.correlation, measure_name(record, patching))))
    if any(layer.groups for layer in patching.layers):
        blocks.append(group_table(patching))
        blocks += [Paragraph(sentence) for sentence in group_sentences(patching)]
    return Section("patching", "Activation patching", tuple(blocks))


def lost_sentence(record: AuditRecord, patching: Patching) -> str:
    """How many images were patched, and in how many layers that could show something."""
    label = selection.labels(record).get(patching.perturbation, text.name(patching.perturbation))
    known = sum(not layer.whole for layer in patching.layers)
    return (
        f"Under {label}, {text.quantity(patching.lost, 'image')} lost; {text.quantity(len(patching.layers), 'layer')} "
        f"put back, {known:,} of them not by construction."
    )


def layer_table(record: AuditRecord, patching: Patching, limit: int = ROW_LIMIT) -> Table:
    """A row a layer in the order of execution; beyond the limit only those from which most returns."""
    measured = measures(record, patching)
    columns = (
        Column("layer", "name"),
        Column("returned", "number"),
        Column("95 % interval", "number"),
        Column("by construction"),
        Column(measure_name(record, patching), "number"),
    )
    shown, note = _shown(patching.layers, limit)
    rows = tuple(
        Row(
            (
                text.name(layer.layer),
                text.percent(layer.returned.value),
                text.interval(layer.returned),
                "yes" if layer.whole else "no",
                text.number(measured[layer.layer].mean if layer.layer in measured else None),
            ),
            "quiet" if layer.whole else "",
        )
        for layer in shown
    )
    return Table("Lost images that return with each layer, in depth order", columns, rows, note)


def group_table(patching: Patching, limit: int = ROW_LIMIT) -> Table:
    """A row for each layer of which groups of neurons were put back."""
    columns = (
        Column("layer", "name"),
        Column("neurons in a group", "number"),
        *(Column(named, "number") for named in GROUPS.values()),
        Column("whole layer", "number"),
    )
    shown, note = _shown([layer for layer in patching.layers if layer.groups], limit)
    rows = []
    for layer in shown:
        found = {one.group: text.share(one.returned) for one in layer.groups}
        cells = (
            text.name(layer.layer),
            f"{layer.groups[0].neurons:,}",
            *(found.get(group, text.DASH) for group in GROUPS),
            text.share(layer.returned),
        )
        rows.append(Row(cells))
    caption = "Lost images that return with some neurons of each layer, in depth order"
    return Table(caption, columns, tuple(rows), f"{GROUPS_MEANING} {note}".rstrip())


def group_sentences(patching: Patching) -> tuple[str, ...]:
    """Whether the fragile neurons, and those that the attack moves most, return more than as many others."""
    compared = (
        _comparison(patching, "fragile", "random", "fragile neurons", "as many random ones"),
        _comparison(patching, "most-targeted", "least-targeted", "most targeted neurons", "the least targeted ones"),
    )
    return tuple(sentence for sentence in compared if sentence)


def correlation_sentence(correlation: Correlation, measure: str) -> str:
    """Whether the layers that move most, by this measure, are those that carry the attack."""
    if correlation.rho is None or correlation.p_value is None:
        return (
            f"No rank correlation of the returned share and the {measure}: one side is constant, or fewer than three "
            "layers are left."
        )
    figures = (
        f"Spearman's rho {text.number(correlation.rho)}, permutation p {text.p_value(correlation.p_value)}, "
        f"{text.quantity(correlation.count, 'layer')}; layers in a row on one branch count each, so p is on the low "
        "side"
    )
    if correlation.p_value >= SIGNIFICANCE:
        return (
            "How far a layer moves does not tell how much of the attack leads through it: no significant rank "
            f"correlation of the {measure} and the returned share ({figures})."
        )
    direction = "more" if correlation.rho > 0 else "less"
    return f"From layers that move more, {direction} tends to return ({figures})."


def measures(record: AuditRecord, patching: Patching) -> dict[str, LayerMeasure]:
    """How far each layer moves under the same attack, by name."""
    entry = _sustainability(record, patching)
    return {} if entry is None else {layer.layer: layer for layer in entry.layers}


def measure_name(record: AuditRecord, patching: Patching) -> str:
    """What `measures` holds, in words."""
    entry = _sustainability(record, patching)
    return text.measure_name("relative-error" if entry is None else entry.measure)


def _sustainability(record: AuditRecord, patching: Patching) -> Sustainability | None:
    return next((entry for entry in record.sustainability if entry.perturbation == patching.perturbation), None)


def _shown(layers: Sequence[PatchedLayer], limit: int) -> tuple[list[PatchedLayer], str]:
    """The layers from which most returns, in the order given, and a sentence on the rest."""
    ordered = sorted(layers, key=lambda layer: (layer.whole, -layer.returned.value))
    kept = {layer.layer for layer in ordered[:limit]}
    rest = len(layers) - len(kept)
    note = f"{text.quantity(rest, 'more layer')} with smaller shares or by construction: see record.json."
    return [layer for layer in layers if layer.layer in kept], note if rest else ""


def _comparison(patching: Patching, first: PatchedNeurons, second: PatchedNeurons, some: str, others: str) -> str:
    found = [{one.group: one.returned.count for one in layer.groups} for layer in patching.layers]
    pairs = [(counts[first], counts[second]) for counts in found if first in counts and second in counts]
    if not pairs:
        return ""
    more, fewer = sum(one > other for one, other in pairs), sum(one < other for one, other in pairs)
    return (
        f"The {some} return more lost images than {others} in {more:,} of {text.quantity(len(pairs), 'layer')}, "
        f"fewer in {fewer:,}, and as many in {len(pairs) - more - fewer:,}."
    )
