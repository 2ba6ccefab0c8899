"""The stages that look inside the model: which neurons are dropped, on whose images, for how much, and what is said of
the rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lsa_audit
from lsa_audit.errors import UsageError
from lsa_audit.page import text
from lsa_audit.progress import Silent
from lsa_audit.records import AuditRecord, NeuronTable, Perturbation
from lsa_audit.reporting import markdown
from lsa_audit.reporting.selection import skipped
from lsa_audit.reporting.shown import Shown
from lsa_audit.scanning import plan
from lsa_audit.scanning.audit import Audit, audit, make_profile
from lsa_audit.scanning.measuring import KEPT_BYTES, ProbeInputs, attack_to_study, attacks_to_study
from lsa_audit.scanning.verdicts import Verdicts
from lsa_audit.stats.statistics import estimate

from ..graph.networks import Transformer, randomise
from ..measurements.networks import Small

SETTINGS = {"epsilon": [0.02, 0.3], "attacks": ["fgsm"], "noises": [], "probes": [], "threads": 1}
DIGITS = {**SETTINGS, "data": "digits", "samples": 40, "epsilon": [0.1], "layers": "none"}
LEARNABLE = ["conv1", "conv2", "fc"]


def network(make: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return randomise(make())


def small() -> nn.Module:
    network = Small().eval()
    network.shape = (3, 8, 8)
    torch.manual_seed(3)
    with torch.no_grad():
        for tensor in (network.bn1.running_mean, network.bn1.weight, network.bn1.bias):
            tensor.normal_(0.3, 0.5)
        network.fc.weight.normal_(0, 3)
    return network


def answered(network: nn.Module, count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and the network's own answers as labels."""
    images = torch.rand((count, *network.shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return images, network(images).argmax(1)


def scanned(network: nn.Module, count: int = 12, **settings: object) -> AuditRecord:
    return lsa_audit.scan(network, answered(network, count), **{**SETTINGS, **settings})


def reasons(record: AuditRecord) -> dict[str, str]:
    return {entry.what: entry.reason for entry in record.skipped}


def digits(**settings: object) -> Audit:
    return audit("digits-cnn", make_profile({"test": {**DIGITS, **settings}}), progress=Silent())


@pytest.fixture(scope="module")
def exact() -> AuditRecord:
    return digits(budget=None).record


class Listener(Silent):
    """Remembers the units of every stage, announced and done."""

    def __init__(self) -> None:
        self.stages: dict[str, list[int]] = {}

    def stage(self, name: str, total: int) -> None:
        self.stages[name] = [total, 0]

    def advance(self, units: int) -> None:
        self.stages[list(self.stages)[-1]][1] += units


# --- which layers -------------------------------------------------------------------------------


@pytest.mark.slow_except("none-expected6")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("first-conv", ["conv1"]),
        ("all", LEARNABLE),
        ("conv*", ["conv1", "conv2"]),
        ("fc, conv1", ["conv1", "fc"]),
        ("learnable", LEARNABLE),
        ("bn1", ["bn1"]),
        ("none", []),
    ],
)
def test_neurons_of_the_layers_asked_for_are_dropped(pattern, expected):
    record = scanned(small(), layers="none", neurons=pattern)
    assert [table.layer for table in record.neurons] == expected
    assert reasons(record) == {}
    assert (record.screening is None) is (not expected)
    if record.screening:
        assert record.screening.neurons == sum(len(table.neurons) for table in record.neurons)


def test_mvl_takes_the_list_of_the_attack_that_is_studied():
    record = scanned(small(), neurons="mvl", eta=0.0)
    perturbation = {table.perturbation for table in record.neurons}
    (moved,) = [entry for entry in record.sustainability if {entry.perturbation} == perturbation]
    assert 0 < len(moved.mvl) < len(LEARNABLE)
    assert {entry.layer for entry in record.neurons} == set(moved.mvl)
    for result, expected in zip(record.attacks, record.sustainability, strict=True):
        inputs = ProbeInputs(None, None, (), None, Silent(), result.perturbation, {}, record.sustainability)
        assert inputs.moved is expected
        assert replace(inputs, perturbation=None).moved is None


@pytest.mark.slow_for("epsilon 0", "none lost")
@pytest.mark.parametrize(
    ("make", "settings", "expected"),
    [
        (small, {"layers": "none", "neurons": "mvl"}, {"nodal dropout": "no-mvl"}),
        (small, {"eta": 50.0, "neurons": "mvl"}, {"nodal dropout": "no-mvl"}),
        (
            lambda: network(Transformer),
            {"layers": "none", "neurons": "*.softmax,head"},
            {"neurons of plain.softmax": "neurons-unknown"},
        ),
        (
            small,
            {"epsilon": [0.0], "probes": ["patching", "filters"]},
            dict.fromkeys(("nodal dropout", "activation patching", "synaptic filters"), "no-attack-images"),
        ),
        (small, {"attacks": ["fab-t"]}, {"nodal dropout": "no-attack-images"}),
        (small, {"attacks": ["fab-t"], "neurons": "none"}, {}),
        (small, {"epsilon": [1e-6], "probes": ["patching"]}, {"activation patching": "nothing-lost"}),
    ],
    ids=["mvl without layers", "mvl empty", "no neuron dimension", "epsilon 0", "minimal", "not asked", "none lost"],
)
def test_what_cannot_be_measured_is_said_with_its_reason_in_the_report_too(make, settings, expected):
    record = scanned(make(), **settings)
    assert reasons(record) == expected
    page = markdown.render(Shown(record))
    for entry in skipped(record):
        for part in (text.name(entry.what), text.sentence(entry.detail), text.name(entry.reason)):
            assert markdown.escape(part) in page


def test_a_model_without_learnable_layers_has_no_neurons_to_drop():
    class Sums(nn.Module):
        shape = (3, 2, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.sum((2, 3))

    record = scanned(Sums(), layers="none")
    assert reasons(record) == {"nodal dropout": "no-learnable-layer"}


@pytest.mark.parametrize("neurons", ["nowhere.*", "conv1,nowhere", " , "])
def test_a_misspelt_layer_does_not_wait_for_the_attacks(neurons):
    heard, subject = Listener(), small()
    with pytest.raises(UsageError, match=r"nowhere|empty"):
        lsa_audit.scan(subject, answered(subject), **SETTINGS, neurons=neurons, progress=heard)
    assert "attack and measure" not in heard.stages


# --- whose images -------------------------------------------------------------------------------


def planned(**settings: object) -> tuple[Perturbation, ...]:
    return plan.perturbations(make_profile({"test": {"noises": [], **settings}}))


@pytest.mark.parametrize(
    ("images_held", "expected"), [(1e6, [0.1, 0.2, 0.3]), (3, [0.1, 0.2, 0.3]), (2.5, [0.1, 0.2]), (0.2, [0.1])]
)
def test_candidates_are_the_last_attack_as_far_as_memory_holds_their_images(images_held, expected):
    measured = planned(attacks=["fgsm", "pgd"], noises=["salt"], epsilon=[0.0, 0.1, 0.2, 0.3])
    found = attacks_to_study(measured, int(KEPT_BYTES / images_held))
    assert [entry.name for entry in found] == ["pgd"] * len(expected)
    assert [entry.epsilon for entry in found] == expected


def test_noise_alone_gives_no_candidates():
    salt = [entry for entry in planned(noises=["salt"], epsilon=[0.1]) if entry.kind == "noise"]
    assert attacks_to_study(salt, 1) == attacks_to_study([], 1) == ()


@pytest.mark.parametrize(
    ("counts", "clean", "expected"),
    [((9, 6, 1), 10, 0.2), ((9, 2, 0), 10, 0.2), ((9, 1, 0), 10, 0.2), ((10, 10, 0), 10, 0.3), ((4, 1, 0), 4, 0.2)],
)
def test_the_attack_that_leaves_about_half_is_studied(counts, clean, expected):
    candidates = planned(attacks=["pgd"], epsilon=[0.1, 0.2, 0.3])
    verdicts = {}
    for entry, count in zip(candidates, counts, strict=True):
        verdicts[entry.id] = Verdicts.empty(entry, 12)
        verdicts[entry.id].right[:count] = True
    found = attack_to_study(candidates, verdicts, estimate(clean, 12))
    assert found is not None
    assert found.epsilon == expected
    assert attack_to_study((), {}, estimate(clean, 12)) is None


@pytest.mark.slow
def test_every_measurement_names_the_attack_that_is_studied():
    record = scanned(small(), 20, probes=["patching", "filters"], filter_samples=3, epsilon=[0.001, 0.15, 0.3])
    left = {entry.perturbation.id: entry.robust_accuracy.count for entry in record.attacks}
    chosen = min(left, key=lambda name: abs(left[name] - record.clean.count / 2))
    assert len(set(left.values())) == 3
    assert {table.perturbation for table in record.neurons} == {chosen}
    assert record.patching is not None
    assert (record.patching.perturbation, record.patching.lost) == (chosen, record.clean.count - left[chosen])
    assert record.filters is not None
    assert record.filters.perturbation == chosen


# --- what it may cost ---------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [8.0, *(pytest.param(value, marks=pytest.mark.slow) for value in (20.0, 60.0))])
def test_a_budget_is_kept_and_its_intervals_hold_what_the_whole_measurement_finds(exact, budget):
    part = digits(budget=budget).record
    assert part.screening.budget == budget
    assert 0.5 * budget < part.screening.spent <= budget < exact.screening.spent
    assert part.screening.exact == exact.screening.exact
    assert part.screening.pairs_measured < part.screening.pairs == exact.screening.pairs
    inside = [
        one.low <= other.accuracy_drop <= one.high
        for one, other in zip(effects(part), effects(exact), strict=True)
        if one.measured < part.clean.total
    ]
    assert np.mean(inside) >= 0.95


def effects(record: AuditRecord):
    return [side for table in record.neurons for neuron in table.neurons for side in (neuron.clean, neuron.adversarial)]


def test_without_a_budget_every_pair_is_measured(exact):
    screening = exact.screening
    assert screening.budget is None
    assert screening.spent == pytest.approx(screening.exact)
    assert screening.neurons_measured == screening.neurons == 106
    assert screening.pairs_measured == screening.pairs == 106 * 2 * 40
    assert {effect.measured for effect in effects(exact)} == {40}
    assert screening.agreement.count == 106


def test_a_budget_for_nothing_leaves_wide_intervals_and_no_fragile_neuron(exact):
    record = digits(budget=1e-9, neurons="conv1,conv2").record
    assert (record.screening.spent, record.screening.pairs_measured, record.screening.neurons_measured) == (0, 0, 0)
    for effect, known in zip(effects(record), effects(exact), strict=False):
        assert (effect.measured, effect.losses, effect.gains, effect.p_value) == (0, 0, 0, 1)
        assert effect.neuron_class != "fragile"
        assert effect.high - effect.low > 1
        assert effect.low <= known.accuracy_drop <= effect.high
        assert effect.margin_drop == pytest.approx(effect.estimated_margin_drop)
    assert record.screening.agreement.rho is None


def same_but_for_rounding(one: NeuronTable, other: NeuronTable) -> None:
    for first, second in zip(one.neurons, other.neurons, strict=True):
        assert first.targeting_score == pytest.approx(second.targeting_score, rel=1e-4)
        for side in ("clean", "adversarial"):
            left, right = (getattr(neuron, side).model_dump() for neuron in (first, second))
            assert left.pop("neuron_class") == right.pop("neuron_class")
            assert left == pytest.approx(right, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("budget", [pytest.param(None, marks=pytest.mark.slow), 20.0])
def test_the_batch_size_changes_no_figure(budget):
    one, other = (digits(budget=budget, batch_size=size).record for size in (7, 40))
    assert one.screening.pairs_measured == other.screening.pairs_measured
    for first, second in zip(one.neurons, other.neurons, strict=True):
        same_but_for_rounding(first, second)


@pytest.mark.slow
def test_the_seed_decides_which_pairs_are_measured():
    one, again, other = (digits(budget=20.0, seed=seed, samples=None, slice="0:40").record for seed in (0, 0, 1))
    assert one.model_dump(exclude={"timing"}) == again.model_dump(exclude={"timing"})
    measured = [[effect.measured for effect in effects(record)] for record in (one, other)]
    assert measured[0] != measured[1]
    assert one.model.weights_sha256 == other.model.weights_sha256


@pytest.mark.slow
def test_progress_comes_to_what_was_announced():
    heard, subject = Listener(), small()
    settings = {**SETTINGS, "probes": ["patching", "filters"], "filter_samples": 3, "drop_value": "mean"}
    lsa_audit.scan(subject, answered(subject), **settings, progress=heard)
    inside = {"reference means", "survey of neurons", "nodal dropout", "activation patching", "synaptic filters"}
    assert inside <= set(heard.stages)
    assert all(done == total for total, done in heard.stages.values()), heard.stages
