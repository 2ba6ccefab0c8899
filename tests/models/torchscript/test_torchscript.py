"""A TorchScript file loads as ordinary modules that compute what the file's own program computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import ModelError
from lsa_audit.graph.walker import walk
from lsa_audit.models.fitting import fit
from lsa_audit.models.outputs import UndecidedError
from lsa_audit.models.request import ModelRequest
from lsa_audit.models.torchscript import load

from ...graph.networks import images_for, randomise
from .networks import KINDS, ORDINARY, Branching, Caching, Pair, Residual, Shared, Values, loaded, save


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow_for(
    "Encoder-scripted-frozen",
    "Recurrent-scripted",
    "Recurrent-scripted-frozen",
    "Encoder-traced",
    "Residual-scripted",
    "Encoder-traced-frozen",
    "Residual-traced",
    "Residual-traced-frozen",
    "Residual-scripted-frozen",
    "Recurrent-traced",
    "Recurrent-traced-frozen",
    "InPlace-traced",
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ORDINARY, ids=lambda case: case.__name__)
def test_logits_are_those_of_the_file_at_every_batch_size(case: type[nn.Module], kind: str, tmp_path: Path):
    network = randomise(case())
    model = loaded(network, kind, tmp_path)
    assert model.reference is not None
    for count in (1, 2, 5):
        images = images_for(network, count, seed=count)
        with torch.no_grad():
            found = model.module.network(images)
            assert close(found, model.reference(images))
            assert close(found, network(images))


@pytest.mark.slow_for("Residual-traced", "Residual-scripted")
@pytest.mark.parametrize("kind", ["traced", "scripted"])
@pytest.mark.parametrize("case", ORDINARY, ids=lambda case: case.__name__)
def test_gradients_and_names_are_those_of_the_original(case: type[nn.Module], kind: str, tmp_path: Path):
    network = randomise(case())
    model = loaded(network, kind, tmp_path)
    images, same = (images_for(network, 3).requires_grad_() for _ in range(2))
    network(images).square().sum().backward()
    model.module.network(same).square().sum().backward()
    assert torch.allclose(same.grad, images.grad, rtol=1e-5, atol=1e-7)
    rebuilt = dict(model.module.network.named_parameters())
    assert list(model.module.network.state_dict()) == list(network.state_dict())
    assert rebuilt.keys() == dict(network.named_parameters()).keys()
    for name, parameter in network.named_parameters():
        assert torch.allclose(rebuilt[name].grad, parameter.grad, rtol=1e-5, atol=1e-6), name


@pytest.mark.slow_for("Residual")
@pytest.mark.parametrize("case", ORDINARY, ids=lambda case: case.__name__)
def test_a_frozen_file_has_its_weights_as_parameters_again(case: type[nn.Module], tmp_path: Path):
    network = randomise(case())
    model = loaded(network, "traced-frozen", tmp_path)
    images, same = (images_for(network, 3).requires_grad_() for _ in range(2))
    network(images).square().sum().backward()
    model.module.network(same).square().sum().backward()
    assert torch.allclose(same.grad, images.grad, rtol=1e-4, atol=1e-6)
    parameters = dict(model.module.network.named_parameters())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in parameters.values())
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d | nn.RNNBase)]
    weights = {parameter for layer in layers for parameter in layer.parameters()}
    assert sum(parameter.numel() for parameter in parameters.values()) >= sum(weight.numel() for weight in weights)


@pytest.mark.slow
def test_the_layers_of_the_file_are_those_of_the_original(tmp_path: Path):
    network = randomise(Residual())
    model = loaded(network, "traced", tmp_path)
    images = images_for(network, 4)
    graph = walk(fit(model, images), images)
    assert graph.info.walker == "export"
    assert [layer.info.name for layer in graph.layers] == [
        "stem",
        "units.0.conv",
        "units.0.bn",
        "units.0.add",
        "units.0.act",
        "units.0",
        "units.1.conv",
        "units.1.bn",
        "units.1.add",
        "units.1.act",
        "units.1",
        "up",
        "adaptive_avg_pool2d",
        "head",
    ]
    assert graph.unassigned_parameters == 0


@pytest.mark.slow
def test_layers_of_a_frozen_file_are_named_after_their_operations(tmp_path: Path):
    network = randomise(Shared())
    model = loaded(network, "scripted-frozen", tmp_path)
    images = images_for(network, 4)
    graph = walk(fit(model, images), images)
    names = [layer.info.name for layer in graph.layers if layer.info.kind == "learnable"]
    assert names == ["linear_1", "linear_1_2", "linear_1_3", "linear_3", "linear_4"]
    assert graph.unassigned_parameters == 0


def test_statistics_are_buffers_and_weights_parameters_where_batch_norm_is_kept(tmp_path: Path):
    network = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    network.shape = (4,)
    model = loaded(randomise(network), "traced-frozen", tmp_path)
    names = {
        name: isinstance(value, nn.Parameter) for name, value in model.module.network.state_dict(keep_vars=True).items()
    }
    assert names == {
        "batch_norm_1.weight": True,
        "batch_norm_1.bias": True,
        "batch_norm_1.running_mean": False,
        "batch_norm_1.running_var": False,
        "linear_1.weight": True,
        "linear_1.bias": True,
    }


def test_a_script_with_python_values_computes_the_same(tmp_path: Path):
    network = randomise(Values())
    model = loaded(network, "scripted", tmp_path)
    images = images_for(network, 4).requires_grad_()
    found, expected = model.module.network(images)["logits"], network(images)["logits"]
    assert close(found, expected)
    gradients = torch.autograd.grad(found.sum(), images), torch.autograd.grad(expected.sum(), images)
    assert torch.allclose(*(one for (one,) in gradients), rtol=1e-5)


def test_an_entry_named_logits_goes_before_others(tmp_path: Path):
    network = randomise(Values())
    model = fit(loaded(network, "scripted", tmp_path), images_for(network, 2))
    assert close(model.module(images_for(network, 2)), network(images_for(network, 2))["logits"])


def test_of_a_tuple_the_output_with_as_many_columns_as_classes_is_taken(tmp_path: Path):
    network = randomise(Pair())
    images = images_for(network, 3)
    model = fit(loaded(network, "traced", tmp_path), images, classes=3)
    assert close(model.module(images), network(images)[1])
    assert (model.outputs.output, model.outputs.others, model.outputs.chosen_by) == ("1", ("0",), "classes")
    with pytest.raises(UndecidedError, match=r"0 \[N, 4, 1, 1\], 1 \[N, 3\]; give --logits"):
        fit(loaded(network, "traced", tmp_path), images)


def test_weights_in_a_list_are_the_parameters_themselves(tmp_path: Path):
    network = randomise(Values())
    module = loaded(network, "scripted", tmp_path).module.network
    images = images_for(network, 2)
    before = module(images)["logits"]
    with torch.no_grad():
        for one in (network, module):
            one.fc.weight.mul_(2)
            one.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    assert not close(module(images)["logits"], before)
    assert close(module(images)["logits"], network(images)["logits"])
    moved = module.double()
    assert moved(images.double())["logits"].dtype == torch.float64


def test_a_table_that_a_forward_keeps_does_not_hide_its_parameter(tmp_path: Path):
    network = randomise(Caching())
    model = fit(loaded(network, "scripted", tmp_path), images_for(network, 3))
    images = images_for(network, 4)
    assert close(model.module.network(images), network(images))
    graph = walk(model, images)
    assert graph.info.walker == "export"
    assert graph.unassigned_parameters == 0


def test_what_the_model_raises_is_raised(tmp_path: Path):
    network = randomise(Values())
    model = loaded(network, "scripted", tmp_path)
    with pytest.raises(ModelError, match="expected 2 dimensions, got 3"):
        fit(model, torch.rand(2, 3, 1))


@pytest.mark.slow
def test_a_branch_on_values_is_followed_as_the_images_took_it(tmp_path: Path):
    network = randomise(Branching())
    model = loaded(network, "scripted", tmp_path)
    images = images_for(network, 3)
    for batch in (images, -images):
        assert close(model.module.network(batch), network(batch))
    graph = walk(fit(model, images), images)
    assert graph.info.walker == "export"
    assert [layer.info.name for layer in graph.layers] == ["high", "relu"]
    assert graph.unassigned_parameters == 15


def test_a_file_saved_in_training_mode_is_audited_in_eval_mode(tmp_path: Path):
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    network.shape = (3,)
    randomise(network).train()
    model = loaded(network, "scripted", tmp_path)
    images = images_for(network, 4)
    assert close(model.module.network(images), network.eval()(images))
    assert fit(model, images).conversion.parity <= 1e-6
    assert model.notes == ("the file was saved in training mode; it is audited in eval mode",)


def test_parity_is_measured_at_the_first_run(tmp_path: Path):
    network = randomise(Residual())
    model = loaded(network, "traced", tmp_path)
    assert model.conversion.parity is None
    fitted = fit(model, images_for(network, 3))
    assert fitted.conversion.parity <= 1e-6
    assert (fitted.conversion.format, fitted.conversion.file) == ("TorchScript, traced", "model.pt")
    assert fitted.classes == 5


@pytest.mark.slow_except("traced-frozen-frozen")
@pytest.mark.parametrize(("kind", "told"), [("scripted", "scripted"), ("traced-frozen", "frozen")])
def test_the_kind_of_file_is_told(kind: str, told: str, tmp_path: Path):
    assert loaded(randomise(Residual()), kind, tmp_path).conversion.format == f"TorchScript, {told}"


def test_a_checkpoint_replaces_the_weights(tmp_path: Path):
    network, other = randomise(Residual()), randomise(Residual(), seed=1)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    model = loaded(network, "traced", tmp_path, checkpoint=tmp_path / "other.pth")
    images = images_for(network, 2)
    assert close(model.module.network(images), other(images))


def test_a_forward_of_two_arguments_is_refused(tmp_path: Path):
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    torch.jit.save(torch.jit.trace(Two(), (torch.ones(1), torch.ones(1))), tmp_path / "two.pt")
    with pytest.raises(ModelError, match=r"two.pt takes \(x, y\), not images alone"):
        load(ModelRequest(str(tmp_path / "two.pt")))


def test_a_device_written_into_the_file_is_not_kept(tmp_path: Path):
    class Device(nn.Module):
        shape = (3,)

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.ones(3, device=torch.device("cpu"))

    model = loaded(Device(), "traced", tmp_path)
    assert model.module.network.to("meta")(torch.ones(2, 3, device="meta")).device.type == "meta"


def test_loading_warns_of_nothing(tmp_path: Path, recwarn: pytest.WarningsRecorder, capfd):
    path = save(randomise(Residual()), "scripted", tmp_path / "model.pt")
    fit(load(ModelRequest(str(path))), torch.rand(3, 3, 8, 8))
    assert list(recwarn) == []
    assert capfd.readouterr() == ("", "")
