"""Attention of opset 23 against the evaluator of the onnx package."""

from __future__ import annotations

import pytest
import torch

from lsa_audit.models.onnx.importer import import_graph

from ..building import close, floats, model, node, reference

HEADS = {"q_num_heads": 2, "kv_num_heads": 2}


@pytest.mark.parametrize(
    ("attributes", "mask"),
    [
        (HEADS, None),
        ({**HEADS, "scale": 0.3}, None),
        ({**HEADS, "is_causal": 1}, None),
        ({**HEADS, "softcap": 0.5}, None),
        (HEADS, floats(5, 5)),
        (HEADS, floats(5, 5) > 0.5),
        ({**HEADS, "softcap": 0.5, "is_causal": 1}, floats(5, 5)),
        ({"q_num_heads": 2, "kv_num_heads": 1}, None),
    ],
    ids=str,
)
def test_attention(attributes, mask):
    shared = attributes["kv_num_heads"]
    constants = {"q": floats(8, 6), "k": floats(8, 3 * shared, seed=1), "v": floats(8, 4 * shared, seed=2)}
    nodes = [node("MatMul", ["images", name], [f"made_{name}"]) for name in "qkv"]
    operands = ["made_q", "made_k", "made_v"]
    if mask is not None:
        mask[:, 0] = True
        constants["mask"] = mask
        operands.append("mask")
    nodes += [node("Attention", operands, ["mixed"], **attributes), node("Flatten", ["mixed"], ["logits"])]
    proto = model(nodes, ["n", 5, 8], constants, opset=23, output=["n", 40])
    images = torch.rand(3, 5, 8)
    close(import_graph(proto).network(images).detach(), reference(proto, images))
