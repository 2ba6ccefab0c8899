from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from lsa_audit.models import ModelRequest, Preprocessing
from lsa_audit.models.assembly import RANDOM_NOTE, Built, assemble


def built() -> Built:
    metadata = Preprocessing((0.5,), (0.25,), "metadata", input_shape=(4,))
    return Built(nn.Linear(4, 2), "net", "Linear", "as built", metadata, classes=2, notes=("first",))


def test_what_was_built_arrives_in_eval_mode_with_the_normalisation_inside() -> None:
    part = built()
    model = assemble(ModelRequest("net"), "factory", part)
    images = torch.rand(3, 4)
    assert torch.allclose(model.module(images), part.network((images - 0.5) / 0.25))
    assert not any(module.training for module in model.module.modules())
    assert (model.weights, model.checkpoint_sha256, model.notes, model.classes) == ("as built", None, ("first",), 2)


def test_random_weights_are_said_plainly() -> None:
    model = assemble(ModelRequest("net", random_weights=True, seed=9), "timm", built())
    assert model.weights == "random, seed 9"
    assert model.notes == ("first", RANDOM_NOTE)


def test_a_checkpoint_goes_in_with_its_hash(tmp_path: Path) -> None:
    path, donor = tmp_path / "x.pt", nn.Linear(4, 2)
    torch.save(donor.state_dict(), path)
    model = assemble(ModelRequest("net", checkpoint=path), "timm", built())
    assert torch.equal(model.module.network.weight, donor.weight)  # type: ignore[arg-type]
    assert model.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.weights == "checkpoint x.pt"


def test_where_things_came_from_is_told_with_the_users_word_first() -> None:
    part = replace(built(), provenance={"layout": "the graph of the file", "classes": "the graph of the file"})
    model = assemble(ModelRequest("net", classes=2, origins={"classes": "the sidecar net.yaml"}), "onnx", part)
    assert model.provenance == {
        "input size": "metadata",
        "layout": "the graph of the file",
        "classes": "the sidecar net.yaml",
    }
    assert model.wanted_classes == 2
