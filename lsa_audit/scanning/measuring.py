"""The stages that look inside the model, on finished attack images: neurons that are dropped, activations that are put
back, weights that are filtered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..attacks.base import Batch
from ..graph.base import Graph, Layer
from ..graph.select import select
from ..measurements.costs import Tally, pass_cost, plan
from ..measurements.dropout import LayerDropout, drop_all, first_layer
from ..measurements.filters import measure_filters, models_measured
from ..measurements.neuron_table import neuron_table
from ..measurements.patching import PatchingProbe, groups_of
from ..measurements.survey import Attacked, Survey
from ..progress import Progress
from ..records import Estimate, Filters, NeuronTable, Patching, Perturbation, Screening, Skipped, Sustainability
from ..settings.profile import AttackSettings, Profile
from .attacking import AttackRunner
from .attacking import verdicts as judge_run
from .plan import Run, perturbations
from .stages import Evaluation
from .verdicts import Verdicts

NAMES = {"patching": "activation patching", "filters": "synaptic filters"}

RELATIVE = ("relative-error", "batch-relative-error")

KEPT_BYTES = 2**31


@dataclass(frozen=True)
class ProbeInputs:
    """What the measurements share.

    Attributes:
        layers: those that the scan measures.
        perturbation: the attack on whose images is measured; None where no attack with a budget was run.
        images: id of a perturbation -> its images after the whole budget, [N, ...] on the CPU.
        sustainability: how far the layers moved, for each perturbation.
    """

    evaluation: Evaluation
    graph: Graph
    layers: tuple[Layer, ...]
    profile: Profile
    progress: Progress
    perturbation: Perturbation | None
    images: Mapping[str, Tensor]
    sustainability: tuple[Sustainability, ...]

    @property
    def moved(self) -> Sustainability | None:
        """How far the layers moved under the attack; None where no layer was measured."""
        found = (
            entry for entry in self.sustainability if self.perturbation and entry.perturbation == self.perturbation.id
        )
        return next(found, None)

    def batches(self) -> Iterator[Attacked]:
        """Clean images with their adversarial versions; both together fill a batch."""
        evaluation, adversarial = self.evaluation, self.images[self.perturbation.id if self.perturbation else ""]
        step = max(1, evaluation.batch_size // 2)
        for start in range(0, len(evaluation.dataset), step):
            stop = min(start + step, len(evaluation.dataset))
            clean, attacked, labels = (
                values.to(evaluation.device)
                for values in (
                    evaluation.dataset.images(start, stop),
                    adversarial[start:stop],
                    evaluation.labels[start:stop],
                )
            )
            yield Attacked(clean, attacked, labels, start)


@dataclass(frozen=True)
class Parts:
    """What was found about the parts of the model."""

    tables: tuple[NeuronTable, ...] = ()
    screening: Screening | None = None
    patching: Patching | None = None
    filters: Filters | None = None
    skipped: tuple[Skipped, ...] = ()


def attacks_to_study(measured: Sequence[Perturbation], image_bytes: int) -> tuple[Perturbation, ...]:
    """The last attack at its epsilons above 0, from the smallest on, as many as memory holds the images of.

    Args:
        measured: those under which layers are measured.
        image_bytes: of the images of one of them.
    """
    attacks = [entry for entry in measured if entry.kind == "attack" and entry.epsilon > 0]
    last = [entry for entry in attacks if (entry.name, entry.norm) == (attacks[-1].name, attacks[-1].norm)]
    return tuple(last[: max(1, KEPT_BYTES // image_bytes)])


def attack_to_study(
    candidates: Sequence[Perturbation], verdicts: Mapping[str, Verdicts], clean: Estimate
) -> Perturbation | None:
    """The one that takes about half of the right verdicts: neurons can then lose some and win some back.

    Of two at the same distance, the one that takes more.
    """
    left = {entry.id: int(verdicts[entry.id].right.sum()) for entry in candidates}
    half = clean.count / 2
    return min(candidates, key=lambda entry: (abs(left[entry.id] - half), left[entry.id]), default=None)


def needs_images(profile: Profile) -> bool:
    """Whether the images of an attack are asked for."""
    return profile.neurons != "none" or _patches(profile)


def _patches(profile: Profile) -> bool:
    return "patching" in profile.probes and profile.layers != "none"


def measure_parts(inputs: ProbeInputs, runner: AttackRunner) -> Parts:
    """Drop neurons, put activations back, filter weights: what the profile asks for.

    Args:
        bench: runs the attack again on filtered models.
    """
    if inputs.graph.info.walker == "runtime":
        detail = "the model runs inside its own runtime, where activations and weights cannot be changed"
        # Of the neurons the walk has told.
        profile = inputs.profile.model_copy(update={"neurons": "none"})
        return Parts(skipped=tuple(_not_measured(profile, "runtime-only", detail)))
    if inputs.graph.info.batch_independent is False:
        detail = "an image's logits depend on its batch mates, so there is no figure of the image alone"
        return Parts(skipped=tuple(_not_measured(inputs.profile, "batch-coupled", detail)))
    layers, skipped = neuron_layers(inputs.graph, inputs.profile.neurons, inputs.moved)
    if inputs.perturbation is None:
        detail = "no attack with a budget was run that would give the images"
        return Parts(skipped=(*skipped, *_not_measured(inputs.profile, "no-attack-images", detail)))
    tables, screening = drop_neurons(inputs, layers, inputs.perturbation.id)
    patching = filters = None
    if _patches(inputs.profile):
        patching, more = patch_activations(inputs, tables, inputs.perturbation.id)
        skipped += more
    if "filters" in inputs.profile.probes:
        filters, more = filter_weights(inputs, inputs.perturbation, runner)
        skipped += more
    return Parts(tables, screening, patching, filters, skipped)


def _not_measured(profile: Profile, reason: str, detail: str) -> Iterator[Skipped]:
    asked = {
        "nodal dropout": profile.neurons != "none",
        NAMES["patching"]: _patches(profile),
        NAMES["filters"]: "filters" in profile.probes,
    }
    for what, wanted in asked.items():
        if wanted:
            yield Skipped(what=what, reason=reason, detail=detail)


def neuron_layers(
    graph: Graph, pattern: str, sustainability: Sustainability | None
) -> tuple[tuple[Layer, ...], tuple[Skipped, ...]]:
    """The layers whose neurons are dropped, and why others of them are not; the walk itself tells of a runtime.

    Args:
        pattern: `first-conv`, `mvl`, `all` (learnable ones), `none`, or globs.
        sustainability: under the attack whose images are used; None where no layer was measured.
    """
    if pattern == "none" or graph.info.walker == "runtime":
        return (), ()
    if pattern in ("first-conv", "all") or not graph.layers:
        learnable = [layer for layer in graph.layers if layer.info.kind == "learnable"]
        first = first_layer(learnable)
        if first is None:
            detail = "the model has no learnable layer whose neurons could be told apart"
            return (), (Skipped(what="nodal dropout", reason="no-learnable-layer", detail=detail),)
        return _with_neurons(learnable) if pattern == "all" else ((first,), ())
    if pattern == "mvl":
        names = frozenset(sustainability.mvl if sustainability else ())
        if not names:
            detail = "no layer is in the list of the most vulnerable ones, or none was measured"
            return (), (Skipped(what="nodal dropout", reason="no-mvl", detail=detail),)
        return _with_neurons([layer for layer in graph.layers if layer.info.name in names])
    return _with_neurons(select(graph.layers, pattern))


def _with_neurons(layers: Sequence[Layer]) -> tuple[tuple[Layer, ...], tuple[Skipped, ...]]:
    skipped = tuple(
        Skipped(what=f"neurons of {layer.info.name}", reason="neurons-unknown", detail="no neuron dimension is known")
        for layer in layers
        if layer.info.neurons is None
    )
    return tuple(layer for layer in layers if layer.info.neurons is not None), skipped


def drop_neurons(
    inputs: ProbeInputs, layers: Sequence[Layer], perturbation: str
) -> tuple[tuple[NeuronTable, ...], Screening | None]:
    """Survey the neurons of all layers, then drop them within the budget of the profile."""
    if not layers:
        return (), None
    profile, progress = inputs.profile, inputs.progress
    survey = _surveyed(inputs, layers)
    dropouts = [LayerDropout(inputs.graph, layer, survey.samples) for layer in layers]
    planned = plan(dropouts, profile.budget, survey.samples)
    progress.stage("nodal dropout", sum(planned.allowances))
    tables, tally = [], Tally(profile.budget, survey.samples)
    for group in planned.groups:
        some = [dropouts[place] for place in group]
        for place in group:
            dropouts[place].prepare(survey, planned.allowances[place], profile.seed)
        passes = drop_all(some, inputs.batches, planned.passes, progress.advance)
        tally.add_passes(passes, pass_cost(some, survey.samples))
        for place, dropout in zip(group, some, strict=True):
            table = neuron_table(layers[place], dropout, survey, perturbation, profile.drop_value, profile.seed)
            tables.append(table)
            tally.add(dropout, table)
            dropout.forget()
    return tuple(tables), tally.screening(profile.seed)


def _surveyed(inputs: ProbeInputs, layers: Sequence[Layer]) -> Survey:
    samples = len(inputs.evaluation.dataset)
    survey = Survey(inputs.graph, layers, inputs.profile.drop_value, samples)
    if inputs.profile.drop_value == "mean":
        inputs.progress.stage("reference means", samples)
        for attacked in inputs.batches():
            survey.reference(attacked.images)
            inputs.progress.advance(len(attacked.images))
    inputs.progress.stage("survey of neurons", samples)
    for attacked in inputs.batches():
        survey.observe(attacked)
        inputs.progress.advance(len(attacked.images))
    return survey


def patch_activations(
    inputs: ProbeInputs, tables: Sequence[NeuronTable], perturbation: str
) -> tuple[Patching | None, tuple[Skipped, ...]]:
    """Put clean activations back into the forwards of the attacked images, layer by layer and group by group."""
    groups = {table.layer: groups_of(table, inputs.profile.seed) for table in tables}
    probe = PatchingProbe(inputs.graph, inputs.layers, groups, perturbation)
    inputs.progress.stage(NAMES["patching"], len(inputs.evaluation.dataset))
    for attacked in inputs.batches():
        probe.observe(attacked.images, attacked.adversarial, attacked.labels)
        inputs.progress.advance(len(attacked.images))
    relative = inputs.moved is not None and inputs.moved.measure in RELATIVE
    moved = {entry.layer: entry.mean for entry in inputs.moved.layers} if inputs.moved and relative else {}
    found = probe.result(moved, inputs.profile.seed)
    if found is not None or not inputs.layers:
        return found, ()
    detail = f"no image is right when clean and wrong under {perturbation}"
    return None, (Skipped(what=NAMES["patching"], reason="nothing-lost", detail=detail),)


def filter_weights(
    inputs: ProbeInputs, perturbation: Perturbation, runner: AttackRunner
) -> tuple[Filters | None, tuple[Skipped, ...]]:
    """Synaptic filters, with FGSM in the study's ball run anew on every filtered model."""
    evaluation, graph = inputs.evaluation, inputs.graph
    fgsm = _fgsm(inputs.profile, perturbation)
    count = min(inputs.profile.filter_samples, len(evaluation.dataset))
    inputs.progress.stage(NAMES["filters"], count * models_measured(graph, inputs.layers))

    def attack(images: Tensor, labels: Tensor, image_ids: tuple[str, ...]) -> Tensor:
        everything = torch.ones(len(images), dtype=torch.bool, device=images.device)
        batch = Batch(images, labels, image_ids, everything)
        (judged,) = judge_run(runner, batch, Run((fgsm,), "each"))
        return judged.outcome.final

    def batches() -> Iterator[tuple[Tensor, Tensor, tuple[str, ...]]]:
        for start in range(0, count, evaluation.batch_size):
            part = slice(start, min(start + evaluation.batch_size, count))
            images = evaluation.dataset.images(part.start, part.stop).to(evaluation.device)
            yield images, evaluation.labels[part].to(evaluation.device), evaluation.dataset.image_ids[part]

    found, skipped = measure_filters(
        graph, evaluation.model.module, inputs.layers, batches, attack, fgsm.id, inputs.progress.advance
    )
    if found is None and not skipped:
        detail = f"no layer with weights is among those asked for (layers: {inputs.profile.layers})"
        skipped = (Skipped(what=NAMES["filters"], reason="no-learnable-layer", detail=detail),)
    return found, skipped


def _fgsm(profile: Profile, perturbation: Perturbation) -> Perturbation:
    settings = AttackSettings(name="fgsm", norm=perturbation.norm, epsilon=(perturbation.epsilon,))
    (planned,) = perturbations(profile.model_copy(update={"attacks": (settings,), "noises": ()}))
    return planned
