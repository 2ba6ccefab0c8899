"""What comes before several layers, run once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from .cut import GraphSection
from .suffix import Kept, Rerun, Suffix


class Together:
    """Keeps what several layers of a model need; what comes before them is run once for all."""

    def __init__(self, reruns: Sequence[Rerun]) -> None:
        self._reruns = tuple(reruns)
        suffixes = [one for one in reruns if isinstance(one, Suffix)]
        self._section: GraphSection | None = None
        if suffixes:
            needed = {node for one in suffixes for node in one.cut.prefix}
            wanted = {node for one in suffixes for node in one.wanted}
            nodes = [node for node in suffixes[0].module.graph.nodes if node in needed]
            self._section = GraphSection(suffixes[0].module, nodes, wanted)

    def keep(self, images: Tensor) -> list[Kept]:
        """What each of them needs of images [n >= 1, ...] in [0, 1], in their order.

        Cost: one forward at most; at first also what `keep` of each of them takes to learn about the batch. The values
        of all layers are held.
        """
        values: dict[fx.Node, Any] = {}
        found = []
        for one in self._reruns:
            if isinstance(one, Suffix):
                one.learn(images)
                if not values and self._section is not None:
                    values[one.cut.images] = images
                    with torch.inference_mode():
                        self._section.run(values)
                found.append(one.kept(images, values))
            else:
                found.append(one.keep(images))
        return found
