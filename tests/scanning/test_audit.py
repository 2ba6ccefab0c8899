"""The pipeline as a library: determinism, batch sizes, labels, and that the user's model is left alone."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import lsa_audit
from lsa_audit.errors import ModelError, ProfileError, UsageError
from lsa_audit.progress import Silent
from lsa_audit.records import SCHEMA_VERSION
from lsa_audit.reporting.shown import Shown
from lsa_audit.scanning.audit import audit, make_profile

FAST = {
    "samples": 60,
    "epsilon": [0.02, 0.1],
    "attacks": ["fgsm", {"name": "pgd", "steps": 5, "restarts": 2}],
    "threads": 1,
}


def scanned(**changes):
    return lsa_audit.scan("digits-cnn", "digits", **{**FAST, **changes})


@pytest.fixture(scope="module")
def record():
    return scanned()


def test_the_same_scan_twice_gives_the_same_record_but_for_time(record):
    again = scanned()
    assert again.model_dump(exclude={"timing"}) == record.model_dump(exclude={"timing"})


def test_another_seed_changes_the_draws_and_not_the_model(record):
    other = scanned(seed=1, layers="none", neurons="none", probes=[])
    assert other.model.weights_sha256 == record.model.weights_sha256
    assert other.attacks != record.attacks


def test_batch_sizes_do_not_change_verdicts_or_figures():
    profiles = [make_profile({"test": {"data": "digits", **FAST, "batch_size": size}}) for size in (7, 60)]
    one, other = (audit("digits-cnn", profile, progress=Silent()) for profile in profiles)
    for key, value in one.evidence.items():
        if key.startswith("clean_"):
            assert (value == other.evidence[key]).all(), key
        if key.startswith("right/"):
            # Batches of another size are rounded otherwise: that may turn an image on the boundary, not two.
            assert (value != other.evidence[key]).sum() <= 1, key
    for first, second in zip(one.record.sustainability, other.record.sustainability, strict=True):
        assert [layer.mean for layer in first.layers] == pytest.approx(
            [layer.mean for layer in second.layers], rel=1e-4
        )


def test_the_record_survives_a_round_trip_through_json(record):
    assert lsa_audit.records.AuditRecord.model_validate_json(record.model_dump_json()) == record
    assert json.loads(record.model_dump_json())["schema_version"] == SCHEMA_VERSION


def test_figures_hang_together(record):
    assert record.clean.total == 60
    assert [attack.perturbation.id for attack in record.attacks[:2]] == ["fgsm@linf-0.02", "fgsm@linf-0.1"]
    for attack in record.attacks:
        assert attack.robust_accuracy.count + attack.fooled == record.clean.count
        assert attack.mean_linf <= attack.perturbation.epsilon * (1 + 1e-5)
    assert {entry.perturbation for entry in record.sustainability} == {
        entry.perturbation.id for entry in record.attacks
    }
    assert record.neurons[0].perturbation == record.patching.perturbation == "pgd@linf-0.1"
    assert len(record.neurons[0].neurons) == next(
        layer.neurons for layer in record.graph.layers if layer.name == record.neurons[0].layer
    )


def test_sum_of_layer_parameters_is_the_models(record):
    assert sum(layer.parameters for layer in record.graph.layers) == record.model.parameters


def network() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3)
    )


def arrays(count: int = 30):
    generator = torch.Generator().manual_seed(0)
    return torch.rand((count, 1, 8, 8), generator=generator), torch.arange(count) % 3


def test_a_module_of_the_users_is_audited_and_left_exactly_as_it_was():
    net = network().train()
    net[1].bias.requires_grad_(False)
    net(torch.rand(4, 1, 8, 8)).sum().backward()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    gradients = [None if parameter.grad is None else parameter.grad.clone() for parameter in net.parameters()]
    state = torch.get_rng_state()
    settings = (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads())
    found = lsa_audit.scan(net, arrays(), **FAST)
    assert found.model.source == "module"
    assert all(child.training for child in net.modules())
    assert [parameter.requires_grad for parameter in net.parameters()] == [True, False, True, True, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == settings
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in net.modules())


def test_labels_that_do_not_fit_the_classes_give_prediction_stability():
    images, _ = arrays()
    found = lsa_audit.scan(network(), (images, torch.arange(30) % 7), **FAST)
    assert found.labels.source == "self"
    assert found.clean.value == 1.0
    assert found.accuracy_name == "prediction stability"
    assert any(finding.rule == "labels" for finding in found.findings)


def test_a_single_logit_is_a_binary_classifier():
    images, _ = arrays()
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    with torch.no_grad():
        expected = (net(images)[:, 0] > 0).long()
    found = lsa_audit.scan(net, (images, expected), **FAST)
    assert found.model.classes == 2
    assert found.clean.value == 1.0


def test_moons_run_through_the_whole_pipeline():
    found = lsa_audit.scan("moons-mlp", "moons", **FAST)
    assert found.clean.value > 0.9
    assert {layer.op for layer in found.graph.layers if layer.kind == "learnable"} == {"linear"}


def test_a_batch_coupled_model_is_inconclusive():
    class Coupled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, 3)

        def forward(self, images):
            flat = images.flatten(1)
            return self.fc(flat - flat.mean(0))

    found = lsa_audit.scan(Coupled(), arrays(), **FAST)
    assert found.graph.batch_independent is False
    assert found.inconclusive


def test_nan_weights_are_refused():
    net = network()
    nn.init.constant_(net[1].bias, float("nan"))
    with pytest.raises(ModelError, match="NaN"):
        lsa_audit.scan(net, arrays(), **FAST)


def test_settings_are_checked():
    with pytest.raises(ProfileError, match="did you mean epsilon"):
        lsa_audit.scan("digits-cnn", "digits", epsilom=[0.1])
    with pytest.raises(UsageError, match="no data given"):
        lsa_audit.scan("digits-cnn")


def test_globs_that_match_nothing_are_refused():
    with pytest.raises(UsageError, match="nowhere"):
        scanned(layers="nowhere.*")


@pytest.fixture
def opaque(tmp_path):
    """A network that only its own runtime can run: an ONNX file with a LSTM, whose operation has no converter."""
    pytest.importorskip("onnxruntime")
    import numpy
    from onnx import TensorProto, helper, numpy_helper

    generator = numpy.random.default_rng(0)

    def weight(name, *shape):
        return numpy_helper.from_array(generator.normal(size=shape).astype("float32"), name)

    rows = numpy_helper.from_array(numpy.array([0, 8, 8]), "rows")
    flat = numpy_helper.from_array(numpy.array([-1, 6]), "flat")
    nodes = [
        helper.make_node("Reshape", ["images", "rows"], ["r"], name="/rows"),
        helper.make_node("Transpose", ["r"], ["t"], name="/turn", perm=[1, 0, 2]),
        helper.make_node("LSTM", ["t", "W", "R"], ["all", "last"], name="/lstm", hidden_size=6),
        helper.make_node("Reshape", ["last", "flat"], ["f"], name="/flat"),
        helper.make_node("Relu", ["f"], ["a"], name="/relu"),
        helper.make_node("Gemm", ["a", "G"], ["logits"], name="/head"),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])
    weights = [weight("W", 1, 24, 8), weight("R", 1, 24, 6), weight("G", 6, 3), rows, flat]
    graph = helper.make_graph(nodes, "net", [images], [logits], weights)
    path = tmp_path / "lstm.onnx"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return str(path)


def test_without_gradients_noises_run_and_the_rest_is_skipped(opaque):
    found = lsa_audit.scan(opaque, arrays(), **FAST, noises=["gaussian", "salt"], layers="all", neurons="all")
    assert found.model.conversion.opaque == ("ai.onnx::LSTM",)
    assert [result.perturbation.id for result in found.attacks] == [
        *("gaussian@linf-0.02", "gaussian@linf-0.1"),
        *("salt@linf-0.02", "salt@linf-0.1"),
    ]
    assert all(result.backwards == 0 for result in found.attacks)
    skipped = {entry.what: entry for entry in found.skipped}
    assert set(skipped) == {
        *("fgsm@linf-0.02", "fgsm@linf-0.1", "pgd@linf-0.02", "pgd@linf-0.1"),
        *("neurons", "gradients", "activation patching"),
    }
    assert skipped["pgd@linf-0.1"].reason == "no-gradients"
    assert "ai.onnx::LSTM" in skipped["pgd@linf-0.1"].detail
    assert found.graph.walker == "runtime"
    assert [(layer.name, layer.kind) for layer in found.graph.layers] == [
        ("/lstm", "learnable"),
        ("/relu", "activation"),
        ("/head", "learnable"),
    ]
    assert found.neurons == ()
    for entry in found.sustainability:
        assert all(measure.mean is not None and measure.mean > 0 for measure in entry.layers)


def test_without_gradients_scores_are_enough_to_attack(opaque):
    settings = {**FAST, "attacks": ["pgd", {"name": "square", "steps": 30}]}
    found = lsa_audit.scan(opaque, arrays(), **settings, noises=[])
    assert [result.perturbation.id for result in found.attacks] == ["square@linf-0.02", "square@linf-0.1"]
    assert not found.inconclusive
    assert {entry.what for entry in found.skipped} >= {"pgd@linf-0.02", "pgd@linf-0.1"}


def test_noise_alone_is_inconclusive(opaque):
    found = lsa_audit.scan(opaque, arrays(), **FAST, noises=["gaussian"])
    assert found.inconclusive
    (finding,) = [finding for finding in found.findings if finding.rule == "no-attack"]
    assert "No attack ran" in finding.message
    assert "ai.onnx::LSTM" in finding.message


def test_with_nothing_left_to_run_the_record_still_says_why(opaque):
    found = lsa_audit.scan(opaque, arrays(), **FAST, noises=[])
    assert (found.attacks, found.sustainability) == ((), ())
    assert found.inconclusive
    assert found.clean.total == 30
    assert len(found.graph.layers) == 3


def test_every_report_can_show_a_scan_without_attacks(opaque):
    from io import StringIO

    from rich.console import Console

    from lsa_audit import reporting as report
    from lsa_audit.reporting import terminal

    for noises in (["gaussian"], []):
        found = lsa_audit.scan(opaque, arrays(), **FAST, noises=noises)
        for _, render in report.FORMATS.values():
            assert "LSTM" in render(Shown(found))
        with StringIO() as written:
            Console(file=written, width=80).print(terminal.summary(found))
            assert "LSTM" in written.getvalue()


class Branching(nn.Module):
    """Doubles its logits where the first pixel of the batch's first image is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.linear(images.flatten(1))
        return logits * 2 if images[0, 0, 0, 0] > 0.5 else logits


@pytest.mark.parametrize("bright", [0, 2])
def test_images_on_other_branches_than_the_sample_are_counted(bright):
    images = torch.rand(8, 1, 2, 2) * 0.4
    # Walking takes the first three images; a batch holds one.
    images[6 : 6 + bright, 0, 0, 0] = 0.9
    record = lsa_audit.scan(
        Branching(),
        (images, torch.zeros(8, dtype=torch.long)),
        batch_size=1,
        epsilon=[0.01],
        attacks=["fgsm"],
        threads=1,
    )
    assert record.graph.specialized
    (told,) = [entry for entry in record.skipped if entry.reason == "specialized"] or [None]
    assert (told is None) is (bright == 0)
    if told is not None:
        assert "2 of 8 clean images" in told.detail
