"""Layer sustainability: the most vulnerable layers under each perturbation, and every layer's measure."""

from __future__ import annotations

from ...page import text
from ...page.view import Block, Column, Facts, Group, Paragraph, Row, Section, Table
from ...records import AuditRecord, LayerMeasure, Sustainability
from .. import selection

ROW_LIMIT = 200
MARK = "●"
MEASURE_MEANINGS = {
    "relative-error": "Relative error is how far a layer's output moves when the image is perturbed, as a share of the "
    "output's own length: 0.5 means that it moved by half of its length.",
    "batch-relative-error": "The batch relative error is how far a layer's output moves over all images at "
    "once, as a share of the length of its clean output: 0.5 means that it moved by half of its length.",
    "l2": "The L2 distance is the length of the difference between a layer's perturbed and clean output.",
    "linf": "The Linf distance is the largest difference between a layer's perturbed and clean output.",
    "cosine": "The cosine distance is the change in direction of a layer's output: 0 means none, 1 a right angle.",
}
MVL_MEANING = (
    "The most vulnerable layers (MVL) are those whose mean lies more than eta times sigma above mu, where mu and sigma "
    "are the mean and the spread over all images and layers."
)
COLUMNS_MEANING = (
    "Interval: 95 % bootstrap over the images. In resamples: share of the bootstrap resamples in which the layer is in "
    "the list. Amplification: the layer's mean relative error over that of the layer before it. "
    "Lipschitz: mean of the output's change over the image's change, both as L2 lengths."
)


def section(record: AuditRecord) -> Section:
    """The lists first (the strongest attack's open, the others folded), then the layers in depth order."""
    first = selection.leading(record)
    if first is None:
        return Section("layers", "Layers", (Paragraph("No layer was measured."),))
    measures = dict.fromkeys(entry.measure for entry in record.sustainability)
    blocks: list[Block] = [Paragraph(MEASURE_MEANINGS[measure]) for measure in measures if measure in MEASURE_MEANINGS]
    blocks.append(Paragraph(MVL_MEANING))
    others = [entry for entry in record.sustainability if entry is not first]
    blocks.append(_group(record, first, folded=False))
    blocks.extend(_group(record, entry, folded=True) for entry in others)
    blocks.append(Group("Every layer", (_matrix(record), _detail(record, first)), folded=False))
    return Section("layers", "Layers", tuple(blocks))


def mvl_sentence(entry: Sustainability) -> str:
    """The list in one sentence, or why it is empty."""
    if entry.mu is None or entry.sigma is None:
        return "unknown: mu and sigma could not be computed"
    if not entry.mvl:
        highest = text.DASH if entry.highest is None else text.name(entry.highest)
        return f"empty: no layer above mu + eta sigma; highest, below threshold: {highest}"
    return f"{text.quantity(len(entry.mvl), 'layer')} above mu + eta sigma, most vulnerable first"


def statistics(entry: Sustainability) -> tuple[tuple[str, str], ...]:
    """The numbers behind the list."""
    threshold = None if entry.mu is None or entry.sigma is None else entry.mu + entry.eta * entry.sigma
    return (
        ("measure", text.measure_name(entry.measure)),
        ("mu", text.number(entry.mu)),
        ("sigma", text.number(entry.sigma)),
        ("eta", text.number(entry.eta)),
        ("threshold", text.number(threshold)),
        ("on the input itself", text.number(entry.input_mean)),
    )


def mvl_table(entry: Sustainability) -> Table:
    """The most vulnerable layers, in order."""
    by_name = {layer.layer: layer for layer in entry.layers}
    columns = (
        Column("layer", "name"),
        Column(text.measure_name(entry.measure), "number"),
        Column("95 % interval", "number"),
        Column("in resamples", "number"),
        Column("amplification", "number"),
        Column("Lipschitz", "number"),
    )
    rows = []
    for layer_name in entry.mvl:
        layer = by_name.get(layer_name)
        cells = (text.DASH,) * 5 if layer is None else _measures(layer)
        rows.append(Row((text.name(layer_name), *cells)))
    return Table("Most vulnerable layers, in order", columns, tuple(rows))


def _measures(layer: LayerMeasure) -> tuple[str, ...]:
    return (
        text.number(layer.mean),
        text.number_range(layer.low, layer.high),
        text.percent(layer.mvl_share),
        text.number(layer.amplification),
        text.number(layer.lipschitz),
    )


def _group(record: AuditRecord, entry: Sustainability, folded: bool) -> Group:
    label = selection.labels(record)[entry.perturbation]
    blocks: list[Table | Facts | Paragraph] = [
        Paragraph(f"{text.capitalized(mvl_sentence(entry))}."),
        Facts(f"Statistics under {label}", statistics(entry)),
    ]
    if entry.mvl:
        blocks.append(mvl_table(entry))
    size = text.quantity(len(entry.mvl), "vulnerable layer") if entry.mvl else "no vulnerable layer"
    return Group(f"Under {label}: {size}", tuple(blocks), folded)


def _matrix(record: AuditRecord) -> Table:
    """Rows: layers in depth order; columns: perturbations."""
    named = selection.labels(record)
    entries = record.sustainability
    measures = [{layer.layer: layer for layer in entry.layers} for entry in entries]
    vulnerable = [set(entry.mvl) for entry in entries]
    shown, note = _shown_layers(record)
    rows = []
    for layer_name in shown:
        cells = []
        for measured, mvl in zip(measures, vulnerable, strict=True):
            layer = measured.get(layer_name)
            value = text.DASH if layer is None else text.number(layer.mean)
            cells.append(f"{MARK} {value}" if layer_name in mvl else value)
        rows.append(Row((text.name(layer_name), *cells)))
    columns = (Column("layer", "name"), *(Column(named[entry.perturbation], "number") for entry in entries))
    caption = f"Mean {_joined_measures(entries)} of every layer in depth order ({MARK} marks the most vulnerable)"
    return Table(caption, columns, tuple(rows), note)


def _joined_measures(entries: tuple[Sustainability, ...]) -> str:
    return " / ".join(dict.fromkeys(text.measure_name(entry.measure) for entry in entries))


def _shown_layers(record: AuditRecord) -> tuple[list[str], str]:
    """Every layer in depth order; beyond the limit only those with the highest means, and a sentence that says so."""
    highest: dict[str, float] = {}
    for entry in record.sustainability:
        for layer in entry.layers:
            highest[layer.layer] = max(highest.get(layer.layer, -1.0), layer.mean if layer.mean is not None else -1.0)
    if len(highest) <= ROW_LIMIT:
        return list(highest), ""
    kept = set(sorted(highest, key=lambda layer_name: -highest[layer_name])[:ROW_LIMIT])
    rest = text.quantity(len(highest) - ROW_LIMIT, "layer")
    return [layer_name for layer_name in highest if layer_name in kept], f"{rest} with lower means: see record.json."


def _detail(record: AuditRecord, entry: Sustainability) -> Table:
    """Every measure of every layer under the leading perturbation."""
    described = {layer.name: layer for layer in record.graph.layers}
    measured = {layer.layer: layer for layer in entry.layers}
    shown, note = _shown_layers(record)
    columns = (
        Column("layer", "name"),
        Column("kind"),
        Column("output shape"),
        Column(text.measure_name(entry.measure), "number"),
        Column("95 % interval", "number"),
        Column("in resamples", "number"),
        Column("amplification", "number"),
        Column("Lipschitz", "number"),
        Column("spread", "number"),
        Column("undefined", "number"),
    )
    rows = []
    for layer_name in shown:
        if layer_name not in measured:
            continue
        layer, info = measured[layer_name], described.get(layer_name)
        kind, shape = (text.DASH, text.DASH) if info is None else (info.kind, text.shape(info.output_shape))
        cells = (
            text.name(layer_name),
            kind,
            shape,
            *_measures(layer),
            text.number(layer.std),
            text.count(layer.undefined),
        )
        rows.append(Row(cells, "bad" if layer_name in entry.mvl else ""))
    label = selection.labels(record)[entry.perturbation]
    undefined = "Undefined: images for which the measure does not exist, e.g. an all-zero clean output."
    whole = " ".join(part for part in (COLUMNS_MEANING, undefined, note) if part)
    return Table(f"Every measure under {label}; under the others: see record.json", columns, tuple(rows), whole)
