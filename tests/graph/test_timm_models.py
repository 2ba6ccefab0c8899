"""The walk over timm architectures with random weights, norms and layer scales drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lsa_audit.graph.walker import walk

from .networks import model_of, randomise


@dataclass(frozen=True)
class Architecture:
    """A timm name with the image size it is run at; `fixed`: the size is an argument of the architecture."""

    name: str
    size: int
    fixed: bool = False


QUICK = (Architecture("resnet18", 64),)
SLOW = (
    Architecture("mobilenetv3_small_100", 64),
    Architecture("convnext_atto", 64),
    Architecture("vit_tiny_patch16_224", 64, fixed=True),
    Architecture("vgg11_bn", 64),
    Architecture("efficientnet_b0", 64),
    Architecture("deit_tiny_patch16_224", 64, fixed=True),
    Architecture("swin_tiny_patch4_window7_224", 224),
    Architecture("regnety_002", 64),
    Architecture("densenet121", 64),
    Architecture("mixer_s16_224", 224),
    Architecture("maxvit_pico_rw_256", 256),
    Architecture("resmlp_12_224", 224),
    Architecture("coatnet_pico_rw_224", 224),
    Architecture("edgenext_xx_small", 64),
    Architecture("ghostnet_050", 64),
    Architecture("inception_v3", 128),
    Architecture("nf_regnet_b0", 64),
    Architecture("dm_nfnet_f0", 64),
    Architecture("xcit_nano_12_p16_224", 64),
    Architecture("poolformer_s12", 64),
    Architecture("repvgg_a0", 64),
    Architecture("cait_xxs24_224", 64, fixed=True),
    Architecture("beit_base_patch16_224", 64, fixed=True),
    Architecture("mobilevit_xxs", 64),
    Architecture("levit_128s", 224),
    Architecture("hrnet_w18_small", 64),
    Architecture("efficientformer_l1", 224),
    Architecture("fastvit_t8", 64),
    Architecture("coat_tiny", 64, fixed=True),
    Architecture("swinv2_cr_tiny_ns_224", 224),
    Architecture("convnextv2_atto", 64),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    [*QUICK, *(pytest.param(entry, marks=pytest.mark.slow) for entry in SLOW)],
    ids=lambda architecture: architecture.name,
)
def test_an_architecture_is_walked_whole(architecture: Architecture):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"img_size": architecture.size} if architecture.fixed else {}
    network = timm.create_model(architecture.name, pretrained=False, num_classes=10, **arguments)
    model = model_of(randomise(network).requires_grad_(False))
    images = torch.rand((3, 3, architecture.size, architecture.size), generator=torch.Generator().manual_seed(1))
    graph = walk(model, images)

    assert graph.info.walker == "export"
    assert graph.info.parity < 1e-5
    assert graph.info.batch_independent is True
    assert graph.info.skipped == ()
    names = [layer.info.name for layer in graph.layers]
    assert len(set(names)) == len(names) > 20
    assert sum(layer.info.parameters for layer in graph.layers) == sum(entry.numel() for entry in network.parameters())
    learnable = [layer.info for layer in graph.layers if layer.info.kind == "learnable"]
    assert all(info.neurons for info in learnable)
    assert sum(layer.info.flops for layer in graph.layers) == _measured_flops(model.module, images)


def _measured_flops(module: torch.nn.Module, images: torch.Tensor) -> int:
    """Per image, without what is spent once for each batch."""
    totals = []
    for count in (2, 3):
        plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), plain:
            module(images[:count])
        totals.append(counter.get_total_flops())
    return totals[1] - totals[0]
