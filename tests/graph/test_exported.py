"""The layer table of an exported graph: what the columns hold."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from lsa_audit.graph.walker import walk

from .networks import Residual, Transformer, images_for, model_of, randomise


def table(network: nn.Module):
    return {layer.info.name: layer for layer in walk(model_of(randomise(network)), images_for(network)).layers}


@pytest.mark.slow
def test_shapes_are_those_of_one_image_on_both_sides():
    layers = table(Transformer())
    assert layers["patch"].info.input_shape == (3, 8, 8)
    assert layers["fused.qkv"].info.input_shape == (5, 8)
    assert layers["fused.scaled_dot_product_attention"].info.input_shape == (2, 5, 4)
    assert layers["head"].info.input_shape == (8,)
    assert layers["patch"].info.flops == 2 * 8 * 2 * 2 * 3 * 4 * 4


@pytest.mark.slow
def test_a_block_takes_in_what_its_first_layer_takes_in():
    layers = table(Residual())
    assert layers["layers.1"].info.input_shape == layers["layers.1.conv1"].info.input_shape == (4, 6, 6)
    assert layers["layers.1"].info.op == "Unit"


@pytest.mark.slow
def test_a_batch_norm_with_another_reader_beside_it_is_no_drop_site():
    class Forked(nn.Module):
        shape = (4,)

        def __init__(self) -> None:
            super().__init__()
            self.fc, self.bn, self.head = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.fc(x)
            return self.head(self.bn(x) + x)

    layers = table(Forked())
    assert layers["fc"].drop_site == layers["fc"].site
    assert layers["fc"].drop_label == "fc"


def test_neurons_that_the_norm_orders_otherwise_are_no_drop_site():
    class Tokens(nn.Module):
        """The batch norm's channels are tokens, not the features of the linear layer."""

        shape = (5, 4)

        def __init__(self) -> None:
            super().__init__()
            self.fc, self.bn, self.head = nn.Linear(4, 4), nn.BatchNorm1d(5), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.bn(self.fc(x)).sum(1))

    layers = table(Tokens())
    assert layers["fc"].drop_site == layers["fc"].site
    assert (layers["bn"].info.neurons, layers["bn"].info.neuron_dim) == (5, 1)
