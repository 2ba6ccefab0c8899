"""A walked model as training runs it: with gradients of the weights, and with batch norms that learn."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, fx, nn

from .base import Graph, Layer
from .structure import operation
from .taps import Visitor, per_image, run, run_graph

BatchNorm = Literal["train", "frozen"]

TRAINING_ARGUMENT = 5
"""Place of the argument that says whether a batch norm runs as in training."""


class ForwardResult(NamedTuple):
    """What one forward showed.

    Attributes:
        logits: [N, K]; None where only layers were asked for.
        values: layer name -> [N, D], its output, image i in row i.
    """

    logits: Tensor | None
    values: dict[str, Tensor]

    @property
    def answer(self) -> Tensor:
        """The logits, of a forward that was asked for them."""
        if self.logits is None:
            raise TypeError("a forward gave no logits")
        return self.logits


class TrainedGraph:
    """A model that is being trained, run through the graph that the audit looks at.

    Two forms share the weights: as in evaluation, and as in training, where batch norms take the statistics of the
    batch and learn them. What an export in eval mode leaves out does not act in training either: dropout, stochastic
    depth, and the count of batches of a batch norm. A model that runs under hooks instead has all of them, and is in
    the mode of its last forward afterwards.

    Args:
        graph: of the model, walked.
        module: the PixelModel; training changes its parameters and buffers.
        batch_norm: `frozen` keeps the statistics and uses them in training as well.
        compiled: whether torch compiles what runs without visitors.
    """

    def __init__(
        self, graph: Graph, module: nn.Module, batch_norm: BatchNorm = "train", *, compiled: bool = False
    ) -> None:
        self.graph = graph
        self.module = module
        self.layers: dict[str, Layer] = {layer.info.name: layer for layer in graph.layers}
        self._batch_norm = batch_norm
        self._compiled = compiled
        self._forms: dict[tuple[bool, tuple[str, ...], bool], Any] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that the logits depend on and that may be trained, each once."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def forward(
        self,
        images: Tensor,
        *,
        training: bool = False,
        layers: Sequence[str] = (),
        visitors: Mapping[str, Visitor] | None = None,
        logits: bool = True,
    ) -> ForwardResult:
        """One forward of images [N, ...] in [0, 1].

        Args:
            training: as in training; otherwise as in evaluation.
            layers: names of those whose values are wanted.
            visitors: layer name -> what sees its raw value and may replace it; the wanted values are those after it.
            logits: False leaves out whatever only the logits need.

        Raises:
            KeyError: no layer has that name.
            Exception: whatever the model raises.

        Cost: one forward, without what follows the last wanted layer where no logits are wanted.
        """
        wanted = tuple(layers)
        if visitors or not isinstance(self.graph.module, fx.GraphModule):
            return self._visited(images, training, wanted, visitors or {})
        outputs = self._form(training, wanted, logits)(images)
        raw = dict(zip(wanted, outputs[1:] if logits else outputs, strict=True))
        values = {name: per_image(self.layers[name], value, len(images)) for name, value in raw.items()}
        return ForwardResult(cast(Tensor, outputs[0]) if logits else None, values)

    def logits(self, images: Tensor, *, visitors: Mapping[str, Visitor] | None = None) -> Tensor:
        """The logits [N, K] as in evaluation; see `forward`."""
        return self.forward(images, visitors=visitors).answer

    def _visited(
        self, images: Tensor, training: bool, wanted: tuple[str, ...], visitors: Mapping[str, Visitor]
    ) -> ForwardResult:
        values: dict[str, Tensor] = {}
        functional = isinstance(self.graph.module, fx.GraphModule)

        def reader(name: str) -> Visitor:
            def read(value: Tensor) -> Tensor | None:
                replaced = visitors[name](value) if name in visitors else None
                seen = value if replaced is None else replaced
                if name not in wanted:
                    return replaced
                values[name] = per_image(self.layers[name], seen, len(images))
                # A module that works in place would else change what is kept.
                return replaced if functional else seen.clone()

            return read

        readers = {name: reader(name) for name in dict.fromkeys([*visitors, *wanted])}
        if isinstance(self.graph.module, fx.GraphModule):
            places: dict[str, list[Visitor]] = defaultdict(list)
            for name, visitor in readers.items():
                places[self.layers[name].site].append(visitor)
            return ForwardResult(run_graph(self._form(training, (), True, plain=True), images, places), values)
        # The mode stays until the next forward: what a checkpointed block runs again in the backward must find it.
        set_mode(self.module, training, self._batch_norm)
        try:
            return ForwardResult(run(self.graph, images, readers), values)
        except BaseException:
            self.module.eval()
            raise

    def _form(self, training: bool, wanted: tuple[str, ...], logits: bool, *, plain: bool = False) -> Any:
        """The graph in that mode, with those outputs; made once."""
        key = (training, wanted, logits)
        if key not in self._forms:
            self._forms[key] = self._made(training, wanted, logits)
        form, compiled = self._forms[key]
        return form if plain or not self._compiled else compiled

    def _made(self, training: bool, wanted: tuple[str, ...], logits: bool) -> tuple[fx.GraphModule, Any]:
        module = cast(fx.GraphModule, self.graph.module)
        graph = copy.deepcopy(module.graph)
        graph.set_codegen(fx.graph.CodeGen())
        if training:
            _switch(graph, self._batch_norm)
        nodes = {node.name: node for node in graph.nodes}
        output = graph.output_node()
        (answer,) = output.all_input_nodes
        values = tuple(nodes[self.layers[name].site] for name in wanted)
        output.args = ((answer, *values) if logits else values,)
        graph.eliminate_dead_code(_is_kept)
        form = fx.GraphModule(module, graph)
        return form, torch.compile(form, dynamic=True) if self._compiled else form


def set_mode(module: nn.Module, training: bool, batch_norm: BatchNorm) -> None:
    """Put every submodule into training or evaluation; frozen batch norms stay in evaluation."""
    module.train(training)
    if batch_norm == "frozen":
        for child in module.modules():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                child.eval()


@contextmanager
def in_training(module: nn.Module, batch_norm: BatchNorm) -> Iterator[None]:
    """The module in training mode inside, in eval mode afterwards."""
    set_mode(module, True, batch_norm)
    try:
        yield
    finally:
        module.eval()


def _is_kept(node: fx.Node) -> bool:
    """Attention counts as random, so that it would stay although nobody reads it."""
    return node.op in ("placeholder", "output")


def _switch(graph: fx.Graph, batch_norm: BatchNorm) -> None:
    """From evaluation to training."""
    for node in graph.nodes:
        if operation(node) == "batch_norm" and batch_norm == "train" and node.args[3] is not None:
            node.update_arg(TRAINING_ARGUMENT, True)
