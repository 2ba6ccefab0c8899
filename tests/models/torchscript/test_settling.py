"""What only a run of a TorchScript file tells: its precision, the batches that it takes, and whether it is random."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import ExitCode, ModelError
from lsa_audit.models import Model, ModelRequest, fit, load
from lsa_audit.models.state import preserved

pytestmark = pytest.mark.filterwarnings("ignore")
IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    def __init__(self, batch: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.batch = batch
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.token = nn.Parameter(torch.rand(1, 1, 256))
        self.fc = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        count = images.shape[0] if self.batch is None else self.batch
        values = torch.relu(self.bn(self.conv(images.reshape(count, 1, 8, 8)))).reshape(count, 1, 256)
        joined = torch.cat([self.token.expand(count, -1, -1), values], 1).mean(1)
        return self.fc(self.drop(joined).view(count, 256))


class Constant(Net):
    """The batch stands in a value that no reshape explains."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + torch.zeros(self.batch or 1, 10)


def saved(network: nn.Module, example: Tensor, folder: Path, how: str = "traced") -> Path:
    path = folder / "net.pt"
    traced = torch.jit.trace(network, example, check_trace=False)
    (torch.jit.freeze(traced) if how == "frozen" else traced).save(str(path))
    return path


def fitted(path: Path, count: int = 2) -> Model:
    model = load(ModelRequest(str(path)))
    with preserved(model.module):
        return fit(model, IMAGES[:count])


TYPES = {torch.float16: 1e-2, torch.bfloat16: 8e-2, torch.float64: 1e-4}


@pytest.mark.parametrize("how", ["traced", "frozen"])
@pytest.mark.parametrize("dtype", TYPES)
def test_other_precisions_run_in_float32_and_say_so(tmp_path: Path, dtype: torch.dtype, how: str) -> None:
    network = Net().eval().to(dtype)
    model = fitted(saved(network, IMAGES.to(dtype), tmp_path, how))
    name = str(dtype).removeprefix("torch.")
    assert model.notes == (f"the file computes in {name}; it is audited in float32",)
    assert {value.dtype for value in model.module.network.state_dict().values() if value.is_floating_point()} == {
        torch.float32
    }
    with torch.no_grad():
        expected, own = network.float()(IMAGES), network.to(dtype)(IMAGES[:2].to(dtype)).float()
        assert torch.allclose(model.module(IMAGES), expected, atol=1e-4)
    assert model.conversion is not None
    parity = float((expected[:2] - own).abs().max() / own.abs().max())
    assert model.conversion.parity == pytest.approx(parity, rel=0.2, abs=1e-5)
    assert parity < TYPES[dtype]
    assert (name in model.conversion.parity_detail) == (dtype != torch.float64)


class HalfInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Net().eval().half()

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images.half()).float()


def test_casts_inside_a_half_program_are_widened(tmp_path: Path) -> None:
    network = HalfInside().eval()
    model = fitted(saved(network, IMAGES, tmp_path))
    with torch.no_grad():
        assert torch.allclose(model.module(IMAGES), network.inner.float()(IMAGES), atol=1e-4)


@pytest.mark.parametrize("kind", [Net, Constant])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_built_in_batch_size_runs_on_any(tmp_path: Path, kind: type[Net], batch: int) -> None:
    network = kind(batch).eval()
    model = fitted(saved(network, torch.rand(batch, 1, 8, 8), tmp_path), count=1)
    free = Net()
    free.load_state_dict(network.state_dict())
    free.eval()
    for count in (1, 2, 3, 5):
        images = IMAGES[:count].clone().requires_grad_()
        logits = model.module(images)
        assert torch.allclose(logits, free(images), atol=1e-5)
        (found,) = torch.autograd.grad(logits.logsumexp(1).sum(), images)
        (expected,) = torch.autograd.grad(free(images).logsumexp(1).sum(), images)
        assert torch.allclose(found, expected, atol=1e-5)
    assert model.conversion is not None
    assert model.conversion.static_batch == batch
    way = "opened" if kind is Net or batch == 1 else f"groups of {batch}"
    assert f"batches of {batch} are built into it" in model.notes[0]
    assert way in model.notes[0]


def test_a_free_batch_stays_free(tmp_path: Path) -> None:
    model = fitted(saved(Net().eval(), IMAGES, tmp_path))
    assert model.conversion is not None
    assert model.conversion.static_batch is None
    assert model.notes == ()


def test_a_file_with_dropout_traced_in_training_is_called_random(tmp_path: Path) -> None:
    network = Net().eval()
    network.drop.train()
    path = saved(network, IMAGES, tmp_path)
    with pytest.raises(ModelError, match=r"net\.pt itself is random.*dropout is switched on in it") as caught:
        fitted(path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "model.eval()" in caught.value.hint
    assert "defect" not in str(caught.value)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return self.fc(flat + 0.1 * torch.randn_like(flat))


def test_other_randomness_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net\.pt itself is random"):
        fitted(saved(Noisy().eval(), IMAGES, tmp_path))


def test_batch_norms_traced_in_training_are_said(tmp_path: Path) -> None:
    network = Net().eval()
    network.bn.train()
    model = fitted(saved(network, IMAGES, tmp_path))
    assert model.notes == (
        "batch norms were traced in training mode: an image's logits depend on the other images in its batch",
    )


def test_a_program_that_runs_nowhere_is_not_a_crash(tmp_path: Path) -> None:
    path = saved(Net().eval(), IMAGES, tmp_path)
    model = load(ModelRequest(str(path)))
    with pytest.raises(ModelError, match="failed in forward on images of shape"), preserved(model.module):
        fit(model, torch.rand(2, 1, 7, 7))
