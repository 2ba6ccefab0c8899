"""Random numbers that belong to an image, whatever batch it is in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Draws:
    """Random numbers with one generator an image: they depend on the seed and the image's id, not on its batch.

    Drawn on the CPU, hence the same on every device.
    """

    def __init__(self, seed: int, image_ids: Sequence[str], purpose: str) -> None:
        self._generators = [_generator(f"{seed}|{purpose}|{image_id}") for image_id in image_ids]

    def of(self, places: Sequence[int]) -> Draws:
        """The generators of some of the images, which go on where they stand."""
        part = Draws(0, [], "")
        part._generators = [self._generators[place] for place in places]
        return part

    def uniform(self, like: Tensor) -> Tensor:
        """Numbers in [0, 1) in the shape of `like` [N, ...]."""
        return self._draw(torch.rand, like)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers in the shape of `like` [N, ...]."""
        return self._draw(torch.randn, like)

    def _draw(self, function: Callable[..., Tensor], like: Tensor) -> Tensor:
        shape = like.shape[1:]
        drawn = [function(shape, generator=generator, dtype=torch.float32) for generator in self._generators]
        return torch.stack(drawn).to(like.device)


def _generator(key: str) -> torch.Generator:
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest, "little") >> 1)
    return generator
