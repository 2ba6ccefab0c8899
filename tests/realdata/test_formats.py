"""The same trained network in five forms: the same layers, the same relative errors, the same verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from lsa_audit.models import ModelRequest, load
from lsa_audit.progress import Silent
from lsa_audit.records import LayerInfo
from lsa_audit.scanning.audit import Audit, audit, make_profile

NETWORKS = Path(__file__).with_name("networks.py")
FORMS = ("traced", "scripted", "exported", "onnx")
NORMALISATION = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SAMPLES = 100

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


def audited(shared: Path, spec: str, **settings: object) -> Audit:
    given = {
        "data": str(shared / "data/cifar10/cifar10_test_first1000.npz"),
        "samples": SAMPLES,
        "attacks": [{"name": "pgd", "steps": 5}],
        "noises": ["gaussian"],
        "epsilon": ["1/255"],
        "neurons": "none",
        "layers": "all",
        **NORMALISATION,
        **settings,
    }
    return audit(spec, make_profile({"arguments": given}), progress=Silent())


@pytest.fixture(scope="module")
def original(shared: Path) -> Audit:
    return audited(shared, f"{NETWORKS}:resnet20", checkpoint=str(shared / "models/cifar_resnet20.th"))


@pytest.fixture(scope="module")
def exported(shared: Path, tmp_path_factory) -> Path:
    request = ModelRequest(f"{NETWORKS}:resnet20", checkpoint=shared / "models/cifar_resnet20.th")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(
        load(request).module.network, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False
    )
    path = tmp_path_factory.mktemp("formats") / "cifar_resnet20.pt2"
    torch.export.save(program, path)
    return path


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest, shared: Path, exported: Path) -> tuple[str, Audit]:
    files = {
        "traced": shared / "models/cifar_resnet20_traced.pt",
        "scripted": shared / "models/cifar_resnet20_scripted.pt",
        "exported": exported,
        "onnx": shared / "models/cifar_resnet20.onnx",
    }
    return request.param, audited(shared, str(files[request.param]))


def comparable(name: str, result: Audit) -> list[LayerInfo]:
    """The layers that the form must have. The ONNX file has no modules, and its batch norms are in its convolutions."""
    return [layer for layer in result.record.graph.layers if name != "onnx" or layer.kind not in {"norm", "block"}]


def test_the_layers_are_the_same_up_to_their_names(original, form):
    name, found = form
    # The files in the shared folder call a few modules otherwise than the factory does.
    ignored = {"traced": {"name"}, "scripted": {"name"}, "exported": set(), "onnx": {"name", "parameters"}}[name]

    def table(result: Audit) -> list[dict[str, object]]:
        return [layer.model_dump(exclude=ignored) for layer in comparable(name, result)]

    assert table(found) == table(original)
    if name != "onnx":
        assert found.record.model.parameters == original.record.model.parameters


def test_the_relative_errors_are_the_same(original, form):
    name, found = form

    def errors(result: Audit) -> numpy.ndarray:
        # A convolution that holds its batch norm puts out something else.
        kept = {layer.name for layer in comparable(name, result) if name != "onnx" or layer.kind != "learnable"}
        (noise,) = [key for key in result.evidence if key.startswith("measure/gaussian")]
        rows = [str(layer) in kept for layer in result.evidence["layers"]]
        return result.evidence[noise][rows]

    expected = errors(original)
    assert expected.size > 0
    assert numpy.allclose(errors(found), expected, rtol=1e-4, atol=1e-6)


def test_the_verdicts_are_the_same(original, form):
    _, found = form
    assert found.record.clean == original.record.clean
    (attack,) = [key for key in found.evidence if key.startswith("right/pgd")]
    assert 0 < original.evidence[attack].sum() < original.record.clean.count
    # Each form is rounded otherwise: that may turn an image on the boundary, not two.
    assert (found.evidence[attack] != original.evidence[attack]).sum() <= 1
