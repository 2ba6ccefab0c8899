"""A repair on a network with a known fragile neuron, whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsa_audit.errors import DataError, ModelError, UsageError
from lsa_audit.progress import Silent
from lsa_audit.repairing import repair as repairing
from lsa_audit.repairing.repair import RepairRequest, repair
from lsa_audit.scanning.audit import make_profile

from ..hardening.weak import PGD, Weak, dropped, scanned, table, weak_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The weak network as TorchScript, and 2,000 images."""
    path = tmp_path_factory.mktemp("weak")
    images, labels = weak_data(2000)
    np.savez(path / "data.npz", images=images, labels=labels)
    torch.jit.script(Weak().eval()).save(str(path / "weak.pt"))
    return path


@pytest.fixture(scope="module")
def run(folder):
    return scanned(str(folder / "data.npz"), str(folder / "weak.pt"))


def repaired(run, folder, tables=None, **repair_request):
    record = run.record if tables is None else run.record.model_copy(update={"neurons": tables})
    settings = {**run.settings, **repair_request.pop("settings", {})}
    subject = str(folder / repair_request.pop("subject", "weak.pt"))
    passes = {} if "attacks" in repair_request else {"passes": 100}
    chosen = RepairRequest(**{"attacks": ("pgd", "cascade"), **passes, **repair_request})
    return repair(record, run.evidence, make_profile({"run": settings}), subject, chosen, Silent())


@pytest.fixture(scope="module")
def result(run, folder):
    return repaired(run, folder, samples=900)


def test_dropping_finds_the_pair_that_carries_the_class(run):
    (found,) = run.record.neurons
    images, labels = weak_data(2000)
    used = [int(name) for name in run.evidence["image_ids"]]
    expected = dropped(Weak(), "hidden", torch.from_numpy(images[used]), torch.from_numpy(labels[used]))
    for neuron, slow in zip(found.neurons, expected.neurons, strict=True):
        assert neuron.clean.neuron_class == slow.clean.neuron_class
        assert neuron.clean.accuracy_drop == pytest.approx(slow.clean.accuracy_drop)
    assert [neuron.neuron_index for neuron in found.neurons if neuron.clean.neuron_class == "fragile"] == [0, 1]
    assert sum(neuron.clean.neuron_class == "robust" for neuron in found.neurons) >= 4


def test_the_repair_finds_it_too_and_helps_on_images_that_it_never_saw(result, run):
    found = result.record
    assert found.outcome == "helped"
    assert found.chosen.fragile == 1
    assert found.chosen.robust > 0
    clean, pgd, cascade = found.changes
    assert (clean.id, pgd.id, cascade.id) == ("clean", PGD, "cascade@linf-0.1")
    # A third of the signals is above 2 epsilon, and 55 % above 1.35 epsilon.
    assert pgd.before.value == pytest.approx(0.33, abs=0.06)
    assert pgd.after.value == pytest.approx(0.55, abs=0.06)
    assert pgd.p_value < 1e-6
    assert pgd.low > 0
    assert cascade.low > 0
    assert clean.after.value >= clean.before.value - 0.01
    assert pgd.before.total == found.judging.samples == 600
    assert found.choosing.samples == 300


def test_the_scales_are_those_of_the_table(result, run):
    (layer,) = result.record.layers
    neurons = run.record.neurons[0].neurons
    largest = max(neuron.clean.accuracy_drop for neuron in neurons)
    for scale, neuron in zip(layer.scales, neurons, strict=True):
        share = max(neuron.clean.accuracy_drop, 0) / largest
        expected = {
            "fragile": 1 + result.record.chosen.fragile * share,
            "robust": 1 - result.record.chosen.robust * (1 - share),
            "null": 1.0,
        }
        assert scale == pytest.approx(expected[neuron.clean.neuron_class])


def test_the_written_file_is_the_model_that_was_judged(result, folder, tmp_path):
    (tmp_path / "weak-repaired.pt").write_bytes(result.file.contents["weak-repaired.pt"])
    again = torch.jit.load(tmp_path / "weak-repaired.pt")
    expected = Weak()
    scales = torch.tensor(result.record.layers[0].scales)
    images = torch.from_numpy(weak_data(50)[0])
    with torch.no_grad():
        expected.hidden.weight.mul_(scales[:, None].float())
        expected.hidden.bias.mul_(scales.float())
        assert torch.allclose(again(images), expected(images), atol=1e-6)
    assert result.record.file.name == "weak-repaired.pt"
    assert result.record.file.difference <= 1e-5


@pytest.mark.slow
def test_images_that_the_scan_used_are_in_neither_part(run, folder, monkeypatch):
    seen = []

    def watched(dataset, used, samples, seed):
        seen.append((set(used), *split(dataset, used, samples, seed)))
        return seen[0][1:]

    split = repairing.split
    monkeypatch.setattr(repairing, "split", watched)
    repaired(run, folder, samples=90, attacks=("pgd",))
    used, first, second = seen[0]
    assert len(used) == 200
    assert (len(first), len(second)) == (30, 60)
    assert not used & {*first.image_ids, *second.image_ids}
    assert not {*first.image_ids} & {*second.image_ids}


def test_the_same_seed_gives_the_same_repair(run, folder):
    first, second = (repaired(run, folder, samples=120, attacks=("pgd",)).record for _ in range(2))
    assert first.model_copy(update={"timing": second.timing}) == second


def test_without_a_fragile_or_robust_neuron_nothing_is_tried(run, folder):
    result = repaired(run, folder, (table("hidden", [0] * 18, [0] * 18),), samples=60)
    assert result.record.outcome == "nothing-chosen"
    assert len(result.record.candidates) == 1
    assert result.file is None
    assert result.record.changes == ()


def test_scaling_the_wrong_neurons_is_not_chosen(run, folder):
    # The noises as the fragile ones, the signal as robust: every pair of strengths makes it worse.
    losses = [1, 1, *[30] * 16]
    result = repaired(run, folder, (table("hidden", losses, [0] * 18),), attacks=("pgd",))
    assert result.record.outcome == "nothing-chosen"
    assert len(result.record.candidates) == 16
    assert result.file is None
    assert result.record.file is None


def test_what_breaks_the_floor_is_neither_attacked_nor_chosen(run, folder):
    losses = [1, 1, *[30] * 16]
    found = repaired(run, folder, (table("hidden", losses, [0] * 18),), max_clean_drop=0.0).record
    unedited = found.candidates[0].clean.count
    for candidate in found.candidates:
        assert (candidate.robust is None) == (candidate.clean.count < unedited)
    assert any(candidate.robust is None for candidate in found.candidates)


def test_the_model_is_left_as_it_was(run, folder, monkeypatch):
    loaded = []

    def load(*arguments):
        model, dataset = original(*arguments)
        loaded.append((model, {name: value.clone() for name, value in model.module.state_dict().items()}))
        return model, dataset

    original = repairing.load
    monkeypatch.setattr(repairing, "load", load)
    repaired(run, folder, samples=60, attacks=("pgd",))

    def failing(*_arguments):
        raise ModelError("no", "")

    monkeypatch.setattr(repairing, "checked_file", failing)
    with pytest.raises(ModelError):
        repaired(run, folder, samples=60, attacks=("pgd",))
    assert len(loaded) == 2
    for model, before in loaded:
        after = model.module.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())


def test_another_model_is_refused(run, folder):
    other = Weak()
    with torch.no_grad():
        other.out.bias.add_(0.1)
    torch.jit.script(other.eval()).save(str(folder / "other.pt"))
    with pytest.raises(UsageError, match="other weights"):
        repaired(run, folder, subject="other.pt")


def test_a_scan_that_used_every_image_says_what_to_do(run, folder):
    everything = run.record.model_copy(update={"data": run.record.data.model_copy(update={"samples": 2000})})
    whole = run._replace(record=everything, evidence={"image_ids": np.asarray([str(n) for n in range(2000)])})
    with pytest.raises(UsageError, match="scan with fewer --samples"):
        repaired(whole, folder)


@pytest.mark.slow
def test_other_data_is_held_out_as_a_whole(run, folder):
    images, labels = weak_data(150, seed=9)
    np.savez(folder / "others.npz", images=images, labels=labels)
    found = repaired(run, folder, settings={"data": str(folder / "others.npz")}, attacks=("pgd",)).record
    assert (found.choosing.samples, found.judging.samples) == (50, 100)


def test_a_run_without_neurons_and_wrong_wishes(run, folder):
    with pytest.raises(UsageError, match="--neurons all"):
        repaired(run, folder, ())
    with pytest.raises(UsageError, match="nosuch is not an attack"):
        repaired(run, folder, attacks=("nosuch",))
    with pytest.raises(UsageError, match="passes: no attack here takes it"):
        repaired(run, folder, attacks=("pgd",), passes=100)
    with pytest.raises(UsageError, match="dropped no neurons of out"):
        repaired(run, folder, layers="out")
    with pytest.raises(DataError, match="a layer that the model lacks"):
        repaired(run, folder, (table("elsewhere", [1], [0]),))
    with pytest.raises(DataError, match="does not fit its 18 neurons"):
        repaired(run, folder, (table("hidden", [1], [0]),))


@pytest.mark.slow
def test_the_models_own_predictions_as_labels(run, folder):
    found = repaired(run, folder, settings={"labels": "self"}, samples=150, attacks=("pgd",)).record
    assert found.changes[0].before.value == 1.0
    assert found.accuracy_name == "prediction stability"


class Listening(Silent):
    """Adds up what the stages say of themselves."""

    def __init__(self):
        self.totals, self.done, self.lines = [], [], []

    def stage(self, name, total):
        self.totals.append(total)
        self.done.append(0)

    def advance(self, units):
        self.done[-1] += units

    def message(self, text):
        self.lines.append(text)


@pytest.mark.slow
def test_the_progress_adds_up_and_tells_the_plan_and_every_pair(run, folder):
    heard = Listening()
    repair_request = RepairRequest(samples=90, attacks=("pgd",))
    repair(
        run.record, run.evidence, make_profile({"run": run.settings}), str(folder / "weak.pt"), repair_request, heard
    )
    assert heard.done == heard.totals
    assert heard.lines[0] == f"attacks: {PGD} (10 steps, runs: 1)"
    assert len(heard.lines) == 1 + 16
    assert heard.lines[1].startswith("fragile up 0, robust down 0: clean ")


def test_a_format_that_cannot_hold_the_change_is_told_before_the_attacks(run, folder, monkeypatch):
    def refused(*_arguments):
        raise ModelError("no", "")

    def attacked(*_arguments):
        raise AssertionError("attacked")

    monkeypatch.setattr(repairing, "fitted_to_file", refused)
    monkeypatch.setattr(repairing, "try_all", attacked)
    with pytest.raises(ModelError):
        repaired(run, folder, samples=60)
