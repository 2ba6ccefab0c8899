"""Layer-wise adversarial defence: hidden layers are pushed along their gradients, as the input is by the attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ...attacks.norms import steepest
from ...errors import UsageError
from ...graph.base import Graph, Layer, Layout, split_batch
from ...graph.select import select
from ...graph.taps import Visitor, per_image
from ...graph.training import TrainedGraph
from .base import EMPTY, TrainingBatch

Form = Literal["lie", "strang"]
Scale = Literal["relative", "raw"]


class Lad:
    """Pushes the hidden states x_1..x_K in the forward on the perturbed images.

    A first forward and backward at the perturbed images, as in evaluation, gives g_k, the gradient of the sum of the
    cross-entropies by x_k. With block f_k from x_k to x_(k+1), and the head behind x_K as f_K:

    - Lie-Trotter: u = x_k + e g_k; x_(k+1) = f_k(u). So x_k is moved by e d_k.
    - Strang-Marchuk: u = x_k + (e_k / 2) g_k; v = f_k(u); x_(k+1) = v + (e_k / 2) g_(k+1). What block k - 1 adds behind
      itself and block k before itself falls on the same x_k: it is moved by (e_(k-1) + e_k) / 2 d_k.

    d_k is g_k (`raw`), or g_k ||x_k|| / ||g_k|| for each image (`relative`); an image without gradient is not moved.
    The input x_0 has been moved by the base attack already, hence e_0 = 0; all other e_k are `step`. So the two forms
    differ in x_1 alone: Strang-Marchuk moves it half as far.

    Source: Yang, Liu, Bao, Shi, "Layer-wise adversarial defense: an ODE perspective", ICLR 2021 submission Ef1nNHQHZ20.
    Differs from the source: its step sizes and normalisation could not be had, so the relative scale, one step for all
    states and the warm-up are decided here; the gradients come from one pass, before any state is moved; the half that
    Strang-Marchuk would add behind the head, to the logits, is left out; states that do not follow one another in a
    chain, such as those of parallel branches, are moved as if they did.

    Cost: one forward and one backward, without gradients of the parameters.
    """

    def __init__(self, form: Form, states: tuple[str, ...], step: float, scale: Scale, warmup: float) -> None:
        """Args:
        states: names of the layers that put out x_1..x_K, in the order of execution (see `hidden_states`).
        step: e, 0 or above; a share of the norm of the state where the scale is relative.
        warmup: epochs in which it rises from 0.
        """
        self.layers: tuple[str, ...] = ()
        self._states = states
        self._weights = [0.5 if form == "strang" and position == 0 else 1.0 for position in range(len(states))]
        self._step = step
        self._scale = scale
        self._warmup = warmup

    def injections(self, trainee: TrainedGraph, perturbed: Tensor, batch: TrainingBatch) -> Mapping[str, Visitor]:
        """What moves the states, detached; nothing, and nothing is run, while the step is 0."""
        step = self._step if batch.progress >= self._warmup else self._step * batch.progress / self._warmup
        if step == 0:
            return EMPTY
        directions = self._directions(trainee, perturbed, batch.labels)
        return {
            name: _adder(weight * step * direction)
            for (name, direction), weight in zip(directions.items(), self._weights, strict=True)
        }

    def penalty(self, clean: Mapping[str, Tensor], perturbed: Mapping[str, Tensor]) -> Tensor | None:  # noqa: ARG002
        """Nothing is added."""
        return None

    def _directions(self, trainee: TrainedGraph, perturbed: Tensor, labels: Tensor) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}

        def keeper(name: str) -> Visitor:
            def keep(value: Tensor) -> Tensor:
                values[name] = value
                # What follows gets a copy: an operation in place would change what is kept.
                return value.clone()

            return keep

        with torch.enable_grad():
            # With gradients from the input on, so that states behind frozen weights have them too.
            images = perturbed.detach().requires_grad_()
            logits = trainee.logits(images, visitors={name: keeper(name) for name in self._states})
            loss = functional.cross_entropy(logits, labels, reduction="sum")
        states = [values[name] for name in self._states]
        gradients = torch.autograd.grad(loss, states, materialize_grads=True)
        return {
            name: self._direction(trainee.layers[name], value.detach(), gradient, len(images))
            for name, value, gradient in zip(self._states, states, gradients, strict=True)
        }

    def _direction(self, layer: Layer, value: Tensor, gradient: Tensor, count: int) -> Tensor:
        gradient = gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        if self._scale == "raw":
            return gradient
        lengths = torch.linalg.vector_norm(per_image(layer, value, count).float(), dim=1, keepdim=True)
        rows = steepest(per_image(layer, gradient, count).float(), "l2") * lengths
        images_dim = layer.batch_dim + 1
        split = split_batch(value, Layout(layer.batch_dim, layer.batch_outer), count)
        ordered: Tensor = rows.view(split.movedim(images_dim, 0).shape).movedim(0, images_dim)
        return ordered.reshape(value.shape)


def _adder(shift: Tensor) -> Visitor:
    return lambda value: value + shift.to(value.dtype)


def hidden_states(graph: Graph, pattern: str) -> tuple[str, ...]:
    """The layers whose outputs are the hidden states, in the order of execution, all before the last learnable layer.

    `all` and `mvl` take every activation, or, in a network without any, every learnable layer. In a residual network
    these are the activations inside the blocks and those after the additions; in a transformer those inside the
    feed-forward parts, so that the sum between the blocks is moved through them alone. Of several names for one value,
    such as a block and its last activation, the first is taken.

    Args:
        pattern: `all`, `mvl`, or what `graph.select.select` takes; layers behind the head are left out.

    Raises:
        UsageError: a part of the pattern matches nothing, or no layer is left.
    """
    learnable = [position for position, layer in enumerate(graph.layers) if layer.info.kind == "learnable"]
    before = graph.layers[: learnable[-1]] if learnable else ()
    if pattern in ("all", "mvl"):
        kinds = {layer.info.kind for layer in before}
        kind = "activation" if "activation" in kinds else "learnable"
        wanted = {layer.info.name for layer in before if layer.info.kind == kind}
    else:
        wanted = {layer.info.name for layer in select(graph.layers, pattern)}
    states: dict[str, str] = {}
    for layer in before:
        if layer.info.name in wanted:
            states.setdefault(layer.site, layer.info.name)
    if not states:
        raise UsageError(
            f"layers {pattern!r}: no hidden layer lies before the head", "name others, see `lsa-audit layers MODEL`"
        )
    return tuple(states.values())
