"""A walked model as training runs it, against the module itself in both modes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from lsa_audit.graph import training as trainees
from lsa_audit.graph.training import TrainedGraph
from lsa_audit.graph.walker import walk

from .networks import DataDependent, Residual, SequenceFirst, Transformer, Windows, images_for, model_of, randomise

EXPORTED = (Residual, Transformer, Windows, SequenceFirst)


class Dropping(nn.Module):
    """Batch norms with and without running statistics, and dropout, which an export leaves out."""

    shape = (2, 6, 6)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.channels = nn.Dropout2d(0.4)
        self.own = nn.BatchNorm2d(6, track_running_stats=False)
        self.fc = nn.Linear(216, 8)
        self.flat = nn.BatchNorm1d(8, momentum=0.3)
        self.units = nn.Dropout(0.5)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.own(self.channels(functional.relu(self.norm(self.conv(x)))))
        return self.head(self.units(self.flat(self.fc(x.flatten(1)))))


def made(network, batch_norm="train"):
    """A trainee of the network, and a copy of the module that shares nothing with it."""
    model = model_of(randomise(network()).eval())
    images = images_for(network, 3)
    graph = walk(model, images)
    return TrainedGraph(graph, model.module, batch_norm), copy.deepcopy(model.module)


def in_training(module, images, frozen=False):
    """The logits of the module in train mode, without dropout."""
    module.train()
    for child in module.modules():
        if isinstance(child, nn.modules.dropout._DropoutNd):
            child.eval()
        if frozen and isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()
    return module(images)


def gradients(logits, module):
    values = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    weights = torch.linspace(-1, 1, logits.numel()).view_as(logits)
    found = torch.autograd.grad((logits * weights).sum(), [value for _, value in values], allow_unused=True)
    return {name: gradient for (name, _), gradient in zip(values, found, strict=True) if gradient is not None}


@pytest.mark.slow_except("DataDependent")
@pytest.mark.parametrize("network", [*EXPORTED, Dropping, DataDependent])
def test_as_in_evaluation_it_is_the_module(network):
    trainee, module = made(network)
    images = images_for(network, 5, seed=4)
    logits = trainee.forward(images).logits
    torch.testing.assert_close(logits, module(images))
    torch.testing.assert_close(trainee.logits(images), module(images))
    own, expected = gradients(logits, trainee.module), gradients(module(images), module)
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)
    for name, value in module.state_dict().items():
        assert torch.equal(trainee.module.state_dict()[name], value)


@pytest.mark.slow_except("DataDependent-frozen")
@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
@pytest.mark.parametrize("network", [Residual, Dropping, DataDependent])
def test_as_in_training_it_is_the_module_in_train_mode(network, batch_norm):
    trainee, module = made(network, batch_norm)
    exported = isinstance(trainee.graph.module, fx.GraphModule)
    assert exported == (network is not DataDependent)
    images = images_for(network, 5, seed=4)
    expected = in_training(module, images, frozen=batch_norm == "frozen")
    logits = trainee.forward(images, training=True).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits, trainee.forward(images).logits, atol=1e-3) or batch_norm == "frozen"
    torch.testing.assert_close(gradients(logits, trainee.module), gradients(expected, module), rtol=1e-3, atol=1e-4)
    moved = False
    for name, value in module.state_dict().items():
        # The count of batches is not in the exported graph; with a momentum of its own nothing reads it.
        if not (exported and name.endswith("num_batches_tracked")):
            torch.testing.assert_close(trainee.module.state_dict()[name], value, rtol=1e-4, atol=1e-5)
        moved = moved or (name.endswith("running_mean") and bool((value - in_eval(network)[name]).abs().max() > 1e-4))
    assert moved == (batch_norm == "train")
    assert not any(child.training for child in trainee.module.modules())


def in_eval(network):
    return model_of(randomise(network()).eval()).module.state_dict()


class Undecided(DataDependent):
    """Cannot be exported, and drops."""

    def forward(self, x):
        return super().forward(functional.dropout(x, 0.5, self.training))


@pytest.mark.slow_except("Undecided-True")
@pytest.mark.parametrize(("network", "drops"), [(Dropping, False), (Undecided, True)])
def test_dropout_acts_where_the_module_itself_runs(network, drops):
    trainee, _ = made(network, "frozen")
    images = images_for(network, 4)
    torch.manual_seed(3)
    first, second = (trainee.forward(images, training=True).logits for _ in range(2))
    assert torch.equal(first, second) != drops
    torch.manual_seed(3)
    assert torch.equal(trainee.forward(images, training=True).logits, first)
    assert torch.equal(trainee.forward(images).logits, trainee.forward(images).logits)


@pytest.mark.slow_except("True-False")
@pytest.mark.parametrize("visited", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_layers_are_those_that_hooks_see(training, visited):
    trainee, module = made(Residual)
    images = images_for(Residual, 4, seed=2)
    names = ("stem", "layers.0.conv1", "layers.1.bn1", "fc")
    expected = {}

    def keeper(name):
        return lambda _module, _inputs, output: expected.__setitem__(name, output.detach().flatten(1).clone())

    for name in names:
        module.network.get_submodule(name).register_forward_hook(keeper(name))
    module.train(training)
    logits = module(images)
    visitors = {"stem": lambda value: None} if visited else None
    seen = trainee.forward(images, training=training, layers=names, visitors=visitors)
    torch.testing.assert_close(seen.values, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.logits, logits, rtol=1e-4, atol=1e-5)
    assert all(value.requires_grad for value in seen.values.values())


@pytest.mark.slow_except("DataDependent")
@pytest.mark.parametrize("network", [Residual, DataDependent])
def test_what_a_visitor_puts_in_is_what_is_seen_and_what_follows(network):
    trainee, module = made(network)
    images = images_for(network, 4, seed=2)
    last = "fc"
    seen = trainee.forward(images, layers=("stem", last), visitors={"stem": lambda value: value * 0 + 0.5})
    assert torch.equal(seen.values["stem"], torch.full_like(seen.values["stem"], 0.5))
    module.network.stem.register_forward_hook(lambda _module, _inputs, output: torch.full_like(output, 0.5))
    torch.testing.assert_close(seen.logits, module(images))
    torch.testing.assert_close(seen.values[last], seen.logits)


class Counted(fx.Interpreter):
    """Counts the operations of a form."""

    def __init__(self, form):
        super().__init__(form)
        self.calls = []

    def run_node(self, n):
        if n.op == "call_function":
            self.calls.append(n.name)
        return super().run_node(n)


@pytest.mark.slow
def test_without_logits_nothing_behind_the_last_layer_runs(monkeypatch):
    trainee, _ = made(Residual)
    images = images_for(Residual, 4)
    runs = []
    real = fx.GraphModule.__call__

    def counted(form, *arguments):
        counter = Counted(form)
        runs.append(counter.calls)
        return counter.run(*arguments)

    monkeypatch.setattr(fx.GraphModule, "__call__", counted)
    whole = trainee.forward(images, layers=("layers.0.conv1",))
    cut = trainee.forward(images, layers=("layers.0.conv1",), logits=False)
    monkeypatch.setattr(fx.GraphModule, "__call__", real)
    assert cut.logits is None
    assert torch.equal(cut.values["layers.0.conv1"], whole.values["layers.0.conv1"])
    assert len(runs[1]) < len(runs[0]) / 2
    assert runs[1] == runs[0][: len(runs[1])]


@pytest.mark.slow
def test_each_form_is_made_once(monkeypatch):
    trainee, _ = made(Residual)
    made_forms = []
    real = trainees._switch
    monkeypatch.setattr(trainees, "_switch", lambda *given: (made_forms.append(given), real(*given))[1])
    images = images_for(Residual, 3)
    for _ in range(3):
        trainee.forward(images, training=True, layers=("stem",))
        trainee.forward(images, training=True)
    assert len(made_forms) == 2


@pytest.mark.slow
def test_weights_that_change_are_those_that_run():
    trainee, _ = made(Residual)
    images = images_for(Residual, 3)
    before = trainee.forward(images, training=True).logits
    with torch.no_grad():
        trainee.module.network.fc.weight.mul_(2)
        trainee.module.network.fc.bias.mul_(2)
    torch.testing.assert_close(trainee.forward(images, training=True).logits, 2 * before, rtol=1e-4, atol=1e-5)


def test_the_hooked_module_is_left_in_eval_mode_after_an_error():
    trainee, _ = made(DataDependent)

    def fail(value):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        trainee.forward(images_for(DataDependent), training=True, visitors={"stem": fail})
    assert not any(child.training for child in trainee.module.modules())


def test_an_unknown_layer_is_a_key_error():
    for network in (Residual, DataDependent):
        with pytest.raises(KeyError):
            made(network)[0].forward(images_for(network), layers=("nothing",))


@pytest.mark.slow
def test_only_parameters_that_may_be_trained_are_named():
    trainee, _ = made(Residual)
    trainee.module.network.stem.weight.requires_grad_(False)
    assert len(trainee.parameters) == len(list(trainee.module.parameters())) - 1
