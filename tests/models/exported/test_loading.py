"""Programs of torch.export come in as the networks that they were, whatever the batch size they were made for."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn

from lsa_audit.errors import ModelError
from lsa_audit.graph.walker import walk
from lsa_audit.models import ModelRequest, fit, from_module
from lsa_audit.models.exported import load

from ...thinning import thin
from .files import Recurrent, Residual, Tokens, Windows, edited, images_of, randomised, save, save_old

NETWORKS = (Residual, Tokens, Windows, Recurrent)


def loaded(path, **options):
    return load(ModelRequest(str(path), **options))


def table_of(model, images):
    graph = walk(fit(model, images), images)
    assert graph.info.walker == "export"
    return [layer.info for layer in graph.layers]


@functools.cache
def own_table(kind):
    return table_of(from_module(randomised(kind())), images_of(5))


@pytest.mark.slow_except("Windows-None", "Recurrent-1")
@pytest.mark.parametrize(("kind", "batch"), thin([(kind, batch) for kind in NETWORKS for batch in (None, 1, 2, 3)]))
def test_the_network_comes_back(kind, batch, tmp_path):
    network = randomised(kind())
    images = images_of(5)
    expected = network(images)
    model = loaded(save(copy.deepcopy(network), tmp_path / "model.pt2", batch))
    with torch.no_grad():
        assert torch.allclose(model.module(images), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert [name for name, _ in model.module.network.named_parameters()] == [n for n, _ in network.named_parameters()]
    assert model.conversion.parity < 1e-5
    assert model.conversion.static_batch == batch
    assert (model.source, model.classes, model.preprocessing.input_shape) == ("exported", 5, (3, 8, 8))
    assert model.provenance["input size"] == "the file"
    assert model.architecture == kind.__name__
    assert table_of(model, images) == own_table(kind)


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_gradients_are_those_of_the_network(batch, tmp_path):
    network = randomised(Tokens())
    images = images_of(3).requires_grad_()
    labels = torch.tensor([0, 1, 2])
    nn.functional.cross_entropy(network(images), labels).backward()
    wanted = {name: parameter.grad for name, parameter in network.named_parameters()}
    mine = images_of(3).requires_grad_()
    model = loaded(save(copy.deepcopy(network), tmp_path / "model.pt2", batch))
    nn.functional.cross_entropy(model.module(mine), labels).backward()
    assert torch.allclose(mine.grad, images.grad, rtol=0, atol=1e-6)
    for name, parameter in model.module.network.named_parameters():
        assert torch.allclose(parameter.grad, wanted[name], rtol=0, atol=1e-6), name


def test_it_agrees_with_the_loader_of_torch(tmp_path):
    path = save(randomised(Residual()), tmp_path / "model.pt2")
    images = images_of(4)
    expected = torch.export.load(path).module()(images)
    assert torch.allclose(loaded(path).module(images), expected, rtol=1e-6, atol=1e-6)


def test_a_copy_of_the_network_has_weights_of_its_own(tmp_path):
    network = load(ModelRequest(str(save(randomised(Residual()), tmp_path / "model.pt2")))).module.network
    twin = copy.deepcopy(network).train()
    expected = network(images_of(2))
    assert torch.allclose(twin(images_of(2)), expected, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        twin.conv.weight.zero_()
    assert torch.allclose(network(images_of(2)), expected, rtol=1e-6, atol=1e-6)
    assert not torch.equal(twin(images_of(2)), expected)


def test_a_file_of_an_older_torch(tmp_path):
    network = randomised(Residual())
    model = loaded(save_old(copy.deepcopy(network), tmp_path / "model.pt2"))
    assert torch.allclose(model.module(images_of(4)), network(images_of(4)), rtol=1e-6, atol=1e-6)


def test_a_program_of_core_operations(tmp_path):
    network = randomised(Residual())
    program = torch.export.export(copy.deepcopy(network), (images_of(1),), strict=False).run_decompositions()
    torch.export.save(program, tmp_path / "model.pt2")
    model = loaded(tmp_path / "model.pt2")
    assert torch.allclose(model.module(images_of(4)), network(images_of(4)), atol=1e-6)


def test_a_program_in_training_mode_is_audited_in_evaluation_mode(tmp_path):
    network = nn.Sequential(Residual(), nn.Dropout(0.5))
    randomised(network)
    expected = network(images_of(4))
    program = torch.export.export(copy.deepcopy(network).train(), (images_of(2),), strict=False)
    torch.export.save(program, tmp_path / "model.pt2")
    model = loaded(tmp_path / "model.pt2")
    before = copy.deepcopy(dict(model.module.network.named_buffers()))
    assert torch.allclose(model.module(images_of(4)), expected, atol=1e-6)
    assert "training mode" in model.notes[0]
    after = dict(model.module.network.named_buffers())
    assert all(torch.equal(value, after[name]) for name, value in before.items() if "tracked" not in name)


def test_a_program_of_another_device_runs_where_the_images_are(tmp_path):
    class Biased(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :5] + torch.arange(5, device=images.device)

    def move(described):
        for node in described["graph_module"]["graph"]["nodes"]:
            for entry in node["inputs"]:
                if "as_device" in entry["arg"]:
                    entry["arg"] = {"as_device": {"type": "cuda", "index": 0}}

    path = edited(save(Biased(), tmp_path / "model.pt2"), move)
    assert "cuda" in path.read_bytes().decode("latin-1")
    assert torch.allclose(loaded(path).module(images_of(3)), Biased()(images_of(3)), rtol=1e-6, atol=1e-6)


def test_a_batch_that_cannot_be_opened_runs_in_groups(tmp_path):
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(192, 5)

        def forward(self, images):
            return self.head(torch.stack([image.flatten() for image in images]))

    network = randomised(Stacked())
    model = loaded(save(copy.deepcopy(network), tmp_path / "model.pt2", batch=2))
    assert "by vmap" in model.notes[0]
    for count in (1, 2, 5):
        assert torch.allclose(model.module(images_of(count)), network(images_of(count)), atol=1e-6)
    assert [name for name, _ in model.module.network.named_parameters()] == ["head.weight", "head.bias"]


def test_a_region_without_gradients_is_a_control_structure(tmp_path):
    class Frozen(nn.Module):
        def forward(self, images):
            with torch.no_grad():
                features = images.relu()
            return features.flatten(1)[:, :5] + images.flatten(1)[:, :5]

    with pytest.raises(ModelError, match="control structure 'wrap_with_set_grad_enabled'"):
        loaded(save(Frozen(), tmp_path / "model.pt2"))


@pytest.mark.slow_except("False")
@pytest.mark.parametrize("strict", [False, True])
def test_modules_and_tensors_keep_their_places(strict, tmp_path):
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict({"first": nn.Conv2d(3, 4, 3), "last": nn.Linear(4, 5)})
            self.steps = nn.ModuleList(nn.ReLU() for _ in range(2))
            self.again = self.parts["first"]
            self.register_buffer("shift", torch.randn(4, 1, 1), persistent=False)
            self.constant = torch.randn(4, 1, 1)

        def forward(self, images):
            features = self.steps[0](self.parts["first"](images) + self.shift * self.constant)
            return self.parts["last"](self.steps[1](features).mean((2, 3)))

    network = randomised(Parts())
    program = torch.export.export(copy.deepcopy(network), (images_of(1),), strict=strict)
    torch.export.save(program, tmp_path / "model.pt2")
    model = loaded(tmp_path / "model.pt2")
    images = images_of(4)
    assert torch.allclose(model.module(images), network(images), atol=1e-6)
    names = [name for name, _ in model.module.network.named_parameters()]
    assert names == [name for name, _ in network.named_parameters()]
    assert isinstance(model.module.network.steps, nn.ModuleList)
    table = [layer.name for layer in table_of(model, images)]
    assert table == ["parts.first", "steps.0", "steps.1", "mean", "parts.last"]


def test_several_groups_that_influence_each_other_are_refused(tmp_path):
    class Centred(nn.Module):
        def forward(self, images):
            features = images.flatten(1)[:, :5]
            return features - features.mean(0)

    with pytest.raises(ModelError, match="another batch size; export it with an open batch"):
        loaded(save(Centred(), tmp_path / "model.pt2"))


@pytest.mark.parametrize(
    ("shape", "layout", "input_shape", "network_shape"),
    [
        ((8, 6, 3), "nhwc", (3, 8, 6), None),
        ((12,), "flat", (12,), None),
        ((12, 1), "flat", None, (12, 1)),
        ((8, 6), "flat", (1, 8, 6), (8, 6)),
    ],
)
def test_layouts(shape, layout, input_shape, network_shape, tmp_path):
    class Flat(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :5]

    program = torch.export.export(Flat(), (images_of(2, *shape),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, tmp_path / "model.pt2")
    found = loaded(tmp_path / "model.pt2").preprocessing
    assert (found.layout, found.input_shape, found.network_shape) == (layout, input_shape, network_shape)


def test_open_sides_leave_the_size_to_the_data(tmp_path):
    network = randomised(Residual())
    auto = torch.export.Dim.AUTO
    program = torch.export.export(network, (images_of(2),), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    torch.export.save(program, tmp_path / "model.pt2")
    model = loaded(tmp_path / "model.pt2")
    assert model.preprocessing.input_shape is None
    wide = images_of(3, 3, 10, 12)
    assert torch.allclose(model.module(wide), network(wide), atol=1e-6)


class Two(nn.Module):
    def forward(self, images, others):
        return images.flatten(1), others


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (Two(), (images_of(2), images_of(2)), "2 inputs"),
        (nn.Conv2d(3, 4, 1), (images_of(2),), "must return logits"),
    ],
)
def test_what_is_no_classifier_is_refused(network, arguments, message, tmp_path):
    torch.export.save(torch.export.export(network, arguments), tmp_path / "model.pt2")
    with pytest.raises(ModelError, match=message):
        loaded(tmp_path / "model.pt2")
