"""What `lsa_audit.scan` takes as a model besides a plain module, what it refuses, and what it leaves as it was."""

from __future__ import annotations

import copy
import random
import signal
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lsa_audit
from lsa_audit.errors import ExitCode, ModelError
from lsa_audit.models import fit, from_program
from lsa_audit.models.fitting import decided
from lsa_audit.models.request import ModelRequest
from lsa_audit.scanning.audit import make_profile
from lsa_audit.scanning.loading import in_training, load

IMAGES = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1))
PLAIN = {"attacks": ["fgsm"], "epsilon": 0.05, "noises": [], "threads": 1}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def network() -> nn.Module:
    torch.manual_seed(20)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()


LOGITS = network()(IMAGES).detach()
LABELS = LOGITS.argmax(1)


def frozen() -> Any:
    return torch.jit.freeze(torch.jit.trace(network(), IMAGES[:2]))


def exported() -> Any:
    return torch.export.export(network(), (IMAGES[:2],))


SUBJECTS = {
    "frozen": frozen,
    "exported": exported,
    "compiled": lambda: torch.compile(network(), backend="eager"),
    "parallel": lambda: nn.DataParallel(network()),
}


def loaded(subject: Any) -> tuple[Any, Any]:
    return load(subject, make_profile({"arguments": PLAIN}), (IMAGES, LABELS))


@pytest.mark.parametrize("make", SUBJECTS.values(), ids=SUBJECTS)
def test_other_forms_of_a_network_give_its_logits(make):
    subject = make()
    model, _ = loaded(subject)
    torch.testing.assert_close(model.module(IMAGES), LOGITS)
    assert model.weights == "as given in memory"
    assert model.conversion is not None or model.name == "Sequential"
    assert in_training(subject) == (1 if make is SUBJECTS["parallel"] else 0)


def test_a_frozen_module_is_audited_with_the_figures_of_the_module():
    settings = {**PLAIN, "neurons": "none", "layers": "none", "probes": []}
    first, second = (lsa_audit.scan(model, (IMAGES, LABELS), **settings) for model in (network(), frozen()))
    assert first.attacks[0].robust_accuracy == second.attacks[0].robust_accuracy
    assert first.clean == second.clean


class Branches(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": x.flatten(1), "logits": x.flatten(1)[:, :3]}


def test_the_outputs_of_a_program_in_memory_are_chosen_by_the_data():
    program = torch.export.export(Branches(), (IMAGES[:2],))
    model = decided(from_program(program, ModelRequest("")), 3)
    assert fit(model, IMAGES[:2]).classes == 3


def test_weights_that_no_file_holds_are_one_line():
    packed = torch.jit.optimize_for_inference(torch.jit.trace(network(), IMAGES[:2]))
    if not packed.graph.findAllNodes("prim::ConstantMKLDNNTensor"):
        pytest.skip("this processor packs no weights")
    with pytest.raises(ModelError, match="optimize_for_inference has packed the weights of Sequential"):
        loaded(packed)


REFUSED = {
    "a function": (lambda: lambda images: images, "is a function, not an nn.Module; wrap it in an nn.Module whose"),
    "a factory": (lambda: network, "a function that builds a network must be called first"),
    "a class": (lambda: nn.Linear, r"is the class Linear, not a network; create it: Linear\(\.\.\.\)"),
    "nothing": (lambda: None, "no model given; give an nn.Module, a model file or the name of a model"),
    "an array": (lambda: IMAGES.numpy(), "is a ndarray; the model comes first"),
    "a tensor": (lambda: IMAGES, "is a Tensor; the model comes first"),
    "weights": (lambda: network().state_dict(), "is a OrderedDict of weights, not a network; load it into a network"),
    "an optimizer": (lambda: torch.optim.SGD(network().parameters()), r"an optimizer \(SGD\); give the nn.Module"),
    "a number": (lambda: 3, "is a int; give an nn.Module"),
    "bytes": (lambda: b"digits-cnn", "is a bytes; give an nn.Module"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_network_is_one_line(make, words):
    with pytest.raises(ModelError, match=words) as caught:
        lsa_audit.scan(make(), (IMAGES, LABELS), **PLAIN)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_weights_made_for_inference_alone_are_one_line():
    with torch.inference_mode():
        module = network()
    with pytest.raises(ModelError, match=r"Sequential: 0.weight was created under torch.inference_mode"):
        loaded(module)
    loaded(copy.deepcopy(module))


class Lively(nn.Module):
    """Batch norm, dropout, caches and random numbers, and an exception in one forward where that is asked for."""

    def __init__(self, stops: int = 0, error: type[BaseException] = ValueError) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm, self.drop, self.fc = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Linear(16, 3)
        self.cache: dict[str, Tensor] = {}
        self.seen: list[int] = []
        self.stops, self.error, self.runs = stops, error, [0]
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        RUNS.append(len(x))
        if len(RUNS) == self.stops:
            raise self.error
        self.count += 1
        self.cache["last"] = self.latest = x
        self.seen.append(len(x))
        np.random.rand()
        random.random()  # noqa: S311 - no secret
        return self.fc(self.drop(torch.relu(self.norm(self.conv(x)))).flatten(1))


RUNS: list[int] = []


def used(module: nn.Module) -> nn.Module:
    """Mixed flags, some gradients, and hooks of the caller's."""
    module.train()
    for place, child in enumerate(module.modules()):
        child.training = place % 2 == 0
    for place, parameter in enumerate(module.parameters()):
        parameter.requires_grad_(place % 3 != 0)
        if place % 2:
            parameter.grad = torch.full_like(parameter, place)
    list(module.modules())[-1].register_forward_hook(lambda *_: None)
    list(module.modules())[-1].register_forward_pre_hook(lambda *_: None)
    return module


def state_of(module: nn.Module) -> dict[str, Any]:
    tensors = [*module.parameters(), *module.buffers()]
    return {
        "attributes": [{name: id(value) for name, value in vars(child).items()} for child in module.modules()],
        "hooks": [
            {name: list(value) for name, value in vars(child).items() if "hooks" in name and value}
            for child in module.modules()
        ],
        "training": [child.training for child in module.modules()],
        "tensors": [(id(tensor), tensor._version, tensor.requires_grad, tensor.tolist()) for tensor in tensors],
        "gradients": [None if one.grad is None else (id(one.grad), one.grad.tolist()) for one in module.parameters()],
        "containers": [repr(getattr(module, name, None)) for name in ("cache", "seen", "runs")],
    }


def surroundings() -> dict[str, Any]:
    return {
        "generators": (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "fast path": torch.backends.mha.get_fastpath_enabled(),
    }


def check_untouched(module: nn.Module, raises: type[BaseException] | None = None, **settings: Any) -> None:
    before = state_of(module), surroundings()
    RUNS.clear()
    given = {**PLAIN, **settings}
    if raises is None:
        lsa_audit.scan(module, (IMAGES, LABELS), **given)
    else:
        with pytest.raises(raises):
            lsa_audit.scan(module, (IMAGES, LABELS), **given)
    for one, other in zip(before, (state_of(module), surroundings()), strict=True):
        assert {key: (value, other[key]) for key, value in one.items() if value != other[key]} == {}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_whole_audit_leaves_module_and_process_as_they_were():
    check_untouched(used(Lively()), neurons="all", probes=["patching", "filters"], noises=["salt"])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("stops", [5, pytest.param(40, marks=pytest.mark.slow)])
def test_so_does_one_that_is_cut_short(error, stops):
    check_untouched(used(Lively(stops, error)), raises=ModelError if error is ValueError else error)


def test_a_backward_that_was_begun_before_an_audit_can_be_ended():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3)).eval()
    loss = module(IMAGES).sum()
    lsa_audit.scan(module, (IMAGES, LABELS), **PLAIN, neurons="none", probes=["filters"])
    loss.backward()


TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}


@pytest.mark.parametrize(("name", "kind"), TYPES.items(), ids=TYPES)
def test_a_network_of_another_type_is_audited_as_a_copy_in_float32(name, kind):
    module = network().to(kind)
    model, _ = loaded(module)
    assert model.notes == (f"the model computes in {name}; it is audited in float32",)
    assert {parameter.dtype for parameter in module.parameters()} == {kind}
    torch.testing.assert_close(model.module(IMAGES), module(IMAGES.to(kind)).float(), atol=2e-2, rtol=0)
    assert module[0].weight.requires_grad


class Casts(nn.Module):
    """Computes in half precision and says so itself, or makes a tensor of another type on the way."""

    def __init__(self, inside: bool) -> None:
        super().__init__()
        self.fc, self.inside = nn.Linear(16, 3).half(), inside

    def forward(self, x: Tensor) -> Tensor:
        if self.inside:
            return self.fc(x.flatten(1).half())
        return self.fc(x.flatten(1)).half() @ torch.eye(3)


def test_one_that_casts_its_input_is_left_as_it_is_and_one_that_mixes_types_is_one_line():
    model, _ = loaded(Casts(inside=True).eval())
    assert model.notes == ()
    with pytest.raises(ModelError, match=r"computes in float16, and fails in float32: .*; make its forward compute in"):
        loaded(Casts(inside=False).eval())
    with pytest.raises(ModelError, match=r"dtype.*; make its forward compute in one type: float32"):
        loaded(nn.Sequential(Doubles(), nn.Linear(16, 3)))


class Doubles(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).double()


def test_an_image_of_the_wrong_size_is_still_said_of_a_network_of_another_type():
    with pytest.raises(ModelError, match=r"shapes cannot be multiplied .*; if the size is wrong, give --input-size"):
        loaded(nn.Sequential(nn.Flatten(), nn.Linear(17, 3)).half())
