"""Real trained weights in each format: changed, written, loaded, and run by the format's own runtime."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor

from lsa_audit.models import ModelRequest, load
from lsa_audit.models.saving import pack

from .files import Written, changed, check_differs, check_same

pytestmark = pytest.mark.realdata

NETWORKS = Path(__file__).parents[2] / "realdata" / "networks.py"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILES = {
    "cifar_resnet20.th": {"arch": f"{NETWORKS}:resnet20", "mean": MEAN, "std": STD},
    "cifar_resnet20_traced.pt": {"mean": MEAN, "std": STD},
    "cifar_resnet20_scripted.pt": {"mean": MEAN, "std": STD},
    "cifar_resnet20.onnx": {"mean": MEAN, "std": STD},
    "mnist_cnn_a_adv.onnx": {},
    "mnist_cnn_a_adv.model": {"arch": f"{NETWORKS}:mnist_cnn_a"},
}


@pytest.fixture(params=FILES)
def request_of(request: pytest.FixtureRequest, shared: Path) -> ModelRequest:
    return ModelRequest(str(shared / "models" / request.param), **FILES[request.param])


def images_of(shared: Path, spec: str) -> Tensor:
    """16 images [16, C, H, W] in [0, 1]."""
    mnist = "mnist" in Path(spec).name
    name = "mnist/mnist_test.npz" if mnist else "cifar10/cifar10_test_first1000.npz"
    with numpy.load(shared / "data" / name) as data:
        images = torch.from_numpy(data["images"][:16]).float() / 255
    return images.unsqueeze(1) if mnist else images.permute(0, 3, 1, 2).contiguous()


def own_logits(written: Written, images: Tensor) -> Tensor:
    """What the runtime of the file's own format makes of it."""
    taken = written.model.module.prepare(images)
    with torch.no_grad():
        if written.path.suffix == ".pt":
            return torch.jit.load(str(written.path))(taken)
        if written.path.suffix == ".onnx":
            onnxruntime = pytest.importorskip("onnxruntime")
            session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
            return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: taken.numpy()})[0])
        found = torch.load(written.path, weights_only=True)
        network = load(ModelRequest(str(written.request.arch))).module.network
        state = found.get("state_dict", found)
        network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
        return network(taken)


@pytest.mark.slow_except("cifar_resnet20.onnx")
def test_the_written_file_is_the_changed_model(request_of: ModelRequest, shared: Path, tmp_path: Path):
    images = images_of(shared, request_of.spec)
    written = changed(request_of, tmp_path)
    check_same(written, images)
    check_differs(written, request_of, images)
    assert written.path.suffix == Path(request_of.spec).suffix
    with torch.no_grad():
        expected = written.model.module(images)
    torch.testing.assert_close(own_logits(written, images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow_for("cifar_resnet20_traced.pt", "cifar_resnet20_scripted.pt")
def test_an_unchanged_model_keeps_its_tensors(request_of: ModelRequest, tmp_path: Path):
    model = load(request_of)
    packed = pack(model, request_of)
    path = tmp_path / f"same{packed.suffix}"
    path.write_bytes(packed.content)
    again = load(ModelRequest(str(path), arch=request_of.arch)).module.network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.module.network.state_dict().items())
