from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.errors import ModelError
from lsa_audit.models.base import Model, PixelModel, Preprocessing, describe, weights_sha256
from lsa_audit.models.fitting import fit
from lsa_audit.records import Conversion


class Returns(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def model(network: nn.Module, preprocessing: Preprocessing | None = None) -> Model:
    settled = preprocessing or Preprocessing()
    return Model("net", "module", "Net", "as given", PixelModel(network, settled).eval(), settled)


def test_normalisation_is_per_channel_for_images_and_features() -> None:
    stated = Preprocessing((0.1, 0.2, 0.3), (0.5, 1.0, 2.0))
    mean, std = torch.tensor(stated.mean), torch.tensor(stated.std)
    images, features = torch.rand(2, 3, 4, 5), torch.rand(2, 3)
    module = PixelModel(nn.Identity(), stated)
    assert torch.equal(module(images), (images - mean[:, None, None]) / std[:, None, None])
    assert torch.equal(module(features), (features - mean) / std)


def test_fit_settles_shape_and_classes() -> None:
    fitted = fit(model(nn.Sequential(nn.Flatten(), nn.Linear(12, 5))), torch.rand(2, 3, 2, 2))
    assert (fitted.classes, fitted.preprocessing.input_shape) == (5, (3, 2, 2))


def test_a_single_logit_gets_its_second_class() -> None:
    network, images = nn.Linear(4, 1), torch.rand(6, 4)
    fitted = fit(model(network), images)
    logits = fitted.module(images)
    assert fitted.classes == 2
    assert torch.equal(logits[:, 1:] - logits[:, :1], network(images))
    assert torch.equal(logits.sum(1), torch.zeros(6))


BAD: dict[str, tuple[Any, str]] = {
    "raises": (ValueError("bad size\nmore"), r"failed in forward .* ValueError: bad size; .*--input-size"),
    "no dimension": (torch.rand(()), r"returned \(\) for 2 images"),
    "wrong count": (torch.rand(3, 4), r"returned \(3, 4\) for 2 images"),
    "feature map": (torch.rand(2, 3, 4, 4), r"returned \(2, 3, 4, 4\)"),
    "whole numbers": (torch.ones(2, 3, dtype=torch.long), r"returned \(2, 3\)"),
    "nothing": ((), "returned tuple for 2 images"),
    "not finite": (torch.full((2, 3), float("nan")), "NaN or infinite logits"),
}


@pytest.mark.parametrize(("value", "words"), BAD.values(), ids=BAD)
def test_what_is_no_classifier_gets_one_line(value: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        fit(model(Returns(value)), torch.rand(2, 3))
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_named() -> None:
    network = nn.Linear(3, 2)
    with torch.no_grad():
        network.weight[0, 0] = float("inf")
    with pytest.raises(ModelError, match="weight weight holds NaN or infinite"):
        fit(model(network), torch.rand(2, 3))


def test_describe_needs_a_run_first() -> None:
    unfitted = model(nn.Linear(3, 2))
    with pytest.raises(ModelError, match="fit"):
        describe(unfitted)
    info = describe(replace(fit(unfitted, torch.rand(2, 3)), checkpoint_sha256="abc", notes=("a note",)))
    assert (info.parameters, info.input_shape, info.classes) == (8, (3,), 2)
    assert (info.checkpoint_sha256, info.notes) == ("abc", ("a note",))
    assert info.weights_sha256 == weights_sha256(unfitted.module.network)


def test_the_hash_sees_values_names_and_types_and_nothing_else() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    before = weights_sha256(network)
    network.train()
    assert weights_sha256(network) == before
    with torch.no_grad():
        network[1].running_mean[0] += 1
    changed = weights_sha256(network)
    assert changed != before
    assert weights_sha256(nn.Sequential(nn.Identity(), *network)) != changed
    assert weights_sha256(network.double()) != changed


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        ("nchw", None, (2, 3, 4, 5)),
        ("nhwc", None, (2, 4, 5, 3)),
        ("flat", None, (2, 60)),
        ("flat", (60, 1), (2, 60, 1)),
    ],
)
def test_images_are_laid_out_as_the_network_wants_them(layout, shape, expected) -> None:
    module = PixelModel(nn.Identity(), Preprocessing((0.5,), (0.5,), layout=layout, network_shape=shape))
    images = torch.rand(2, 3, 4, 5)
    prepared = module.prepare(images)
    turned = {"nchw": images, "nhwc": images.movedim(1, 3), "flat": images}[layout]
    assert prepared.shape == expected
    assert torch.equal(prepared.flatten(), (turned.flatten() - 0.5) / 0.5)


def converted(network: nn.Module, reference: Any) -> Model:
    conversion = Conversion(file="net.pt", sha256="0" * 64, format="TorchScript", reference="the file's own program")
    return replace(model(network), conversion=conversion, reference=reference)


def test_the_first_run_compares_with_the_files_own_program() -> None:
    network = nn.Linear(4, 3)
    fitted = fit(converted(network, lambda taken: network(taken) * (1 + 1e-5)), torch.rand(5, 4))
    assert fitted.conversion is not None
    assert fitted.conversion.parity == pytest.approx(1e-5, rel=0.05)
    assert fitted.conversion.parity_detail == "on 5 images"
    assert fitted.reference is None


@pytest.mark.parametrize("factor", [1 + 2e-4, float("nan")])
def test_a_conversion_that_differs_is_refused(factor: float) -> None:
    network = nn.Linear(4, 3)
    with pytest.raises(ModelError, match="as converted differs from the file's own program by"):
        fit(converted(network, lambda taken: network(taken) * factor), torch.rand(5, 4))


def test_another_class_count_than_was_stated_is_refused() -> None:
    stated = replace(model(nn.Linear(4, 3)), wanted_classes=10, provenance={"classes": "given by the user"})
    with pytest.raises(ModelError, match="net has 3 classes, not 10 classes given by the user"):
        fit(stated, torch.rand(2, 4))
    assert fit(replace(stated, wanted_classes=3), torch.rand(2, 4)).classes == 3
