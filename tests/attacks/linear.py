"""A linear classifier whose smallest adversarial perturbation is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lsa_audit.records import Norm


@dataclass(frozen=True)
class LinearCase:
    """A model, images well inside [0, 1], and the model's own labels."""

    module: nn.Module
    images: Tensor
    labels: Tensor

    def optimum(self, norm: Norm) -> Tensor:
        """Distance from each image to the nearest decision boundary: min over k of margin_k / ||w_y - w_k||_dual."""
        layer = self.module[-1]
        logits = self.module(self.images)
        differences = layer.weight[self.labels][:, None] - layer.weight[None]
        margins = logits.gather(1, self.labels[:, None]) - logits
        order = {"linf": 1, "l2": 2, "l1": torch.inf}[norm]
        dual = torch.linalg.vector_norm(differences, ord=order, dim=2)
        distances = (margins / dual.clamp_min(1e-12)).scatter(1, self.labels[:, None], float("inf"))
        return distances.amin(1).detach()


def agree(case: LinearCase, images: Tensor, labels: Tensor, right: Tensor) -> bool:
    """Whether images are what their verdicts say, leaving open what lies on the boundary up to rounding.

    A nearest image does, and a batch of another size may round its logits to the other side.
    """
    with torch.no_grad():
        logits = case.module(images)
    own = logits.gather(1, labels[:, None])[:, 0]
    margins = own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return bool(torch.where(right, margins >= -1e-5, margins <= 1e-5).all())


def between(distances: Tensor) -> float:
    """An epsilon near the median with no image near it: the middle of the widest gap in the middle half of `distances`.

    At an image's own optimum the verdict would hang on the last bit.
    """
    ordered = distances.sort().values
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    widest = int(middle.diff().argmax())
    low, high = float(middle[widest]), float(middle[widest + 1])
    assert high - low > 0.02 * high
    return (low + high) / 2


def linear_case(shape: tuple[int, ...], classes: int, count: int, seed: int, scale: float = 0.02) -> LinearCase:
    """A seeded random linear model; images are near the centre, so the range [0, 1] does not bind."""
    generator = torch.Generator().manual_seed(seed)
    features = int(torch.tensor(shape).prod())
    layer = nn.Linear(features, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        layer.bias.zero_()
    images = 0.5 + scale * torch.randn((count, *shape), generator=generator)
    module = nn.Sequential(nn.Flatten(), layer).eval()
    with torch.no_grad():
        layer.bias.sub_(module(torch.full((1, *shape), 0.5))[0])
        labels = module(images).argmax(1)
    return LinearCase(module, images, labels)
