"""One image in a forward that trains is refused where a batch norm would learn from it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lsa_audit import models
from lsa_audit.device.ranks import Ranks
from lsa_audit.errors import UsageError
from lsa_audit.graph.walker import walk
from lsa_audit.hardening.batch_norms import refuse_single_images
from lsa_audit.models.fitting import fit
from lsa_audit.settings.recipe import Recipe


def walked(*norm: nn.Module):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), *norm, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    model = fit(models.from_module(network), torch.rand(2, 1, 8, 8))
    return walk(model, torch.rand(3, 1, 8, 8)), model.module


def refuse(graph, module, images=100, processes=1, **settings):
    refuse_single_images(graph, module, images, Recipe(**settings), Ranks(size=processes))


NORM = nn.BatchNorm2d(4)


@pytest.mark.slow_for("settings0---batch-size 2 or more, or --bn frozen")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 1}, "--batch-size 2 or more, or --bn frozen"),
        ({"batch_size": 4, "accumulate": 4}, "--batch-size 8 or more"),
        ({"batch_size": 4, "processes": 4}, "--batch-size 8 or more"),
        ({"batch_size": 8, "processes": 2, "accumulate": 2, "images": 7}, "give more images"),
    ],
)
def test_one_image_is_refused_with_what_to_do(settings, said):
    with pytest.raises(UsageError, match="one image in each forward") as caught:
        refuse(*walked(NORM), **settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow_except("settings0")
@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 2},
        {"batch_size": 1, "bn": "frozen"},
        {"batch_size": 8, "accumulate": 4},
        {"batch_size": 3, "images": 2},
        # What is left over, one image, is dropped.
        {"batch_size": 50, "images": 101},
    ],
)
def test_more_images_or_fixed_statistics_are_not(settings):
    refuse(*walked(NORM), **settings)


@pytest.mark.slow_for("group")
@pytest.mark.parametrize(
    "norm", [(), (nn.GroupNorm(2, 4),), (nn.InstanceNorm2d(4),)], ids=["none", "group", "instance"]
)
def test_other_networks_may_train_on_one(norm):
    refuse(*walked(*norm), batch_size=1)


def test_a_batch_norm_that_only_the_graph_shows_counts():
    graph, _ = walked(NORM)
    with pytest.raises(UsageError):
        refuse(graph, nn.Identity(), batch_size=1)
