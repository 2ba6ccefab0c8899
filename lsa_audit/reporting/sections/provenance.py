"""What was audited, with what, and what was left out: model, data, labels, walk, environment, settings, timing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...page import text
from ...page.view import Block, Column, Facts, Paragraph, Row, Section, Table
from ...records import AuditRecord, Conversion, GraphCheck, Skipped
from .. import selection

SHOWN = 6


def missing(record: AuditRecord) -> Section:
    """Everything that was asked for and could not be measured."""
    title = "Not measured"
    entries = selection.skipped(record)
    if not entries:
        return Section("skipped", title, (Paragraph("Everything that was asked for was measured."),))
    return Section("skipped", title, (skipped_table("What could not be measured, and why", entries),))


def skipped_table(caption: str, entries: Sequence[Skipped]) -> Table:
    """Things that could not be measured, with their reasons."""
    columns = (Column("what", "label"), Column("why"), Column("reason code", "label"))
    rows = tuple(
        Row((text.name(entry.what), text.sentence(entry.detail), text.name(entry.reason))) for entry in entries
    )
    return Table(caption, columns, rows)


def subject(record: AuditRecord) -> Section:
    """The model, the data, the labels and how the model was walked."""
    blocks: tuple[Block, ...] = (
        Facts("Model", _model(record)),
        Facts("Data", _data(record)),
        Facts("Walk through the model", _graph(record)),
    )
    return Section("subject", "What was audited", blocks)


def _model(record: AuditRecord) -> tuple[tuple[str, str], ...]:
    model = record.model
    return (
        ("name", text.name(model.name)),
        ("loader", model.source),
        ("architecture", text.name(model.architecture)),
        ("weights", text.sentence(model.weights)),
        ("weights sha256", text.digest(model.weights_sha256)),
        ("checkpoint sha256", text.digest(model.checkpoint_sha256)),
        ("parameters", text.count(model.parameters)),
        ("input shape", text.shape(model.input_shape)),
        ("classes", text.count(model.classes)),
        ("normalisation mean", _channels(model.mean)),
        ("normalisation std", _channels(model.std)),
        ("normalisation from", text.sentence(model.normalization_source)),
        ("input laid out as", "one flat vector" if model.input_layout == "flat" else model.input_layout.upper()),
        *((("outputs taken for", text.sentence(model.outputs.sentence)),) if model.outputs else ()),
        *((("channels in the order", model.channel_order.upper()),) if model.channel_order != "rgb" else ()),
        *((f"{what} from", text.sentence(source)) for what, source in sorted(model.provenance.items())),
        *(_conversion(model.conversion) if model.conversion else ()),
        *(("note", text.sentence(note)) for note in model.notes),
    )


def parity(conversion: Conversion) -> str:
    """How far the converted network is from the file's own program, in words."""
    about = "; ".join(part for part in (conversion.reference or "", conversion.parity_detail) if part)
    if conversion.parity is None:
        return f"not compared with the file's own program ({about})" if about else "not compared"
    return f"differs by {conversion.parity:.1e} of the largest logit from {about}"


def _conversion(conversion: Conversion) -> Iterator[tuple[str, str]]:
    yield "file", text.name(conversion.file)
    yield "file sha256", text.digest(conversion.sha256)
    yield "format", text.sentence(conversion.format)
    yield "difference from the file's own program", text.sentence(parity(conversion))
    if conversion.static_batch is not None:
        yield "batch size of the file", f"{conversion.static_batch}; here any size runs"
    if conversion.straight_through:
        yield "gradient of the identity through", _listed(conversion.straight_through)
    if conversion.opaque:
        yield "run by the file's runtime because of", _listed(conversion.opaque)


def _listed(names: tuple[str, ...]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(text.name(entry) for entry in names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _channels(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values) or "none"


def _data(record: AuditRecord) -> tuple[tuple[str, str], ...]:
    data, labels = record.data, record.labels
    source = "the dataset's own" if labels.source == "dataset" else "the model's own clean predictions"
    return (
        ("name", text.name(data.name)),
        ("loader", text.name(data.source)),
        ("taken for", text.sentence(data.interpretation)),
        ("selection", text.sentence(data.selection)),
        ("images", f"{data.samples:,} of {data.total:,}"),
        ("transforms", "; ".join(text.sentence(step) for step in data.transforms) or "none"),
        ("classes", text.count(data.classes)),
        ("sha256", text.digest(data.sha256)),
        ("labels", source),
        ("labels, why", text.sentence(labels.reason)),
    )


def _graph(record: AuditRecord) -> tuple[tuple[str, str], ...]:
    graph = record.graph
    walker = {
        "export": "torch.export graph",
        "hooks": "module hooks (there is no exported graph that is the model)",
        "runtime": "the runtime of the file (no gradients)",
    }[graph.walker]
    independent = {True: "yes", False: "no", None: "not known"}[graph.batch_independent]
    return (
        ("walker", walker),
        (
            "branches that depend on values",
            "followed as the sample images took them" if graph.specialized else "none seen",
        ),
        ("layers", text.count(len(graph.layers))),
        ("parameters of the layers", text.count(sum(layer.parameters for layer in graph.layers))),
        ("FLOPs per image", text.scaled(sum(layer.flops for layer in graph.layers))),
        ("largest relative difference of logits from the original model", f"{graph.parity:.2g}"),
        ("an image's logits are free of its batch mates", independent),
        *((f"exported graph, {check.what}", compared(check)) for check in graph.checks),
    )


def compared(check: GraphCheck) -> str:
    """What one comparison of the graph with the model showed."""
    how_many = "" if check.of == 1 else f"{check.compared:,} of {check.of:,} compared with {text.name(check.against)}: "
    if not check.compared:
        return f"{how_many}not verified"
    apart = "not finite" if check.difference is None else f"{check.difference:.2g}"
    return f"{how_many}{'the same' if check.passed else 'another'} (largest relative difference {apart})"


def conditions(record: AuditRecord) -> Section:
    """Environment, effective settings and timing: what is needed to repeat the audit."""
    environment, timing = record.environment, record.timing
    machine = (
        ("device", text.name(environment.device)),
        ("threads", text.count(environment.threads)),
        ("precision", text.name(environment.precision)),
        ("deterministic kernels", "yes" if environment.deterministic else "no"),
        ("Python", text.name(environment.python)),
        ("platform", text.name(environment.platform)),
        ("packages", ", ".join(f"{text.name(key)} {text.name(value)}" for key, value in environment.packages.items())),
        *(("note", text.sentence(note)) for note in environment.notes),
    )
    clock = (
        ("started", text.name(timing.started_at)),
        ("took", text.duration(timing.duration_s)),
        *((text.name(stage), text.duration(seconds)) for stage, seconds in timing.stages_s.items()),
    )
    settings = tuple(_flat(record.settings))
    blocks: list[Block] = [Facts("Environment", tuple((label, value or text.DASH) for label, value in machine))]
    if settings:
        blocks.append(Facts("Effective settings", settings))
    blocks.append(Facts("Timing", clock))
    return Section("conditions", "How it was measured", tuple(blocks))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}.")
        else:
            yield text.name(path), _setting(value)


def _setting(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_setting(member) for member in value) or "none"
    return text.sentence(str(value))
