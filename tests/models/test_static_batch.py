"""Programs for one batch size give the same logits and gradients on any batch as a loop over groups."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.models.static_batch import FixedBatch, in_groups, open_sizes


class Only(nn.Module):
    """Takes batches of exactly `size`, and mixes nothing between images."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.inner = network
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        assert len(images) == self.size
        return self.inner(images).reshape(self.size, -1)


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.lstm(images.flatten(1, 2))[0][:, -1]


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3, groups=2), nn.Flatten()
    )
    nn.init.normal_(network[1].running_mean)
    return network.eval()


def in_a_loop(network: nn.Module, images: Tensor, size: int) -> Tensor:
    """The slow obvious version."""
    rest = -len(images) % size
    filled = torch.cat([images, images[-1:].expand(rest, *images.shape[1:])])
    return torch.cat([network(group) for group in filled.split(size)])[: len(images)]


@pytest.mark.parametrize("make", [convolutional, Rows])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_logits_and_gradients_are_those_of_a_loop(make, size, count):
    torch.manual_seed(1)
    network = Only(make(), size)
    images = torch.rand(count, 3, 8, 8)
    results = []
    for run in (lambda images: in_a_loop(network, images, size), FixedBatch(network, size)):
        given = images.clone().requires_grad_()
        logits = run(given)
        network.zero_grad()
        logits.square().sum().backward()
        results.append([logits.detach(), given.grad, *(parameter.grad.clone() for parameter in network.parameters())])
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_images_of_a_group_may_influence_each_other():
    def centred(images: Tensor) -> Tensor:
        return images - images.mean(0)

    images = torch.rand(5, 4)
    assert torch.allclose(in_groups(centred, images, 2), in_a_loop(centred, images, 2))


def test_an_error_of_the_network_is_not_hidden():
    def broken(images: Tensor) -> Tensor:
        return images @ torch.rand(3, 3)

    with pytest.raises(RuntimeError, match="size"):
        in_groups(broken, torch.rand(4, 5), 2)


def test_single_images_export_with_an_open_batch():
    network = FixedBatch(Only(convolutional(), 1), 1)
    images = torch.rand(3, 3, 8, 8)
    program = torch.export.export(network, (images,), strict=False)
    assert torch.allclose(program.module()(images), network(images), atol=1e-6)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(
    ("before", "batch_dim", "after", "position"),
    [
        ((1, 4, 3, 3), 0, (1, 36), 0),
        ((1, 7, 4), 0, (1, 7, 2, 2), 0),
        ((7, 1, 4), 1, (7, 2, 2), 1),
        ((7, 1, 4), 1, (7, 4), 0),
        ((7, 1, 2, 2), 1, (7, 4), 0),
        ((1, 3, 7, 2), 0, (3, 7, 2), 0),
        ((3, 1, 7, 4), 1, (3, 1, 7, 2, 2), 1),
    ],
)
def test_the_place_of_the_batch_in_a_reshape(size, before, batch_dim, after, position):
    """Sizes for one image; for two the batch is twice that, in the operand as in the result."""

    def operand(count: int) -> Tensor:
        per_image = [torch.rand(before, generator=torch.Generator().manual_seed(index)) for index in range(count)]
        return torch.cat(per_image, dim=batch_dim)

    def result(count: int) -> list[int]:
        return [entry * count if index == position else entry for index, entry in enumerate(after)]

    single, double = operand(size), operand(2 * size)
    sizes = open_sizes(single, double, tuple(result(size)), size)
    assert sizes is not None
    assert list(double.reshape(sizes).shape) == result(2 * size)


def test_what_cannot_be_told_apart_stays_as_it_is():
    assert open_sizes(torch.rand(1, 4), torch.rand(2, 4), (4,), 1) is None
