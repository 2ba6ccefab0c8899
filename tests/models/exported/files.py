"""Writes .pt2 files for tests, also broken and hostile ones."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

OPEN = ({0: Dim.AUTO},)


class Residual(nn.Module):
    """A convolutional network with a residual sum, a shared activation and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()) for _ in range(2)))
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 3, H, W] -> logits [N, 5]."""
        features = self.act(self.norm(self.conv(images)))
        features = self.act(self.blocks(features) + features)
        return self.head(features.mean((2, 3)))


class Tokens(nn.Module):
    """A transformer with a class token, sequence first, as torchvision's."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 3, 8, 8] -> logits [N, 5]."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(images.shape[0], -1, -1), tokens], dim=1)
        tokens = tokens + self.attention(*[self.norm(tokens)] * 3, need_weights=False)[0]
        return self.head(tokens[:, 0])


class Recurrent(nn.Module):
    """An LSTM over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(24, 6, batch_first=True)
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 3, 8, 8] -> logits [N, 5]."""
        return self.head(self.lstm(images.transpose(1, 2).flatten(2))[0][:, -1])


class Windows(nn.Module):
    """Windows of the image become a larger batch and go back, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 16)
        self.head = nn.Linear(192, 5)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 3, 8, 8] -> logits [N, 5]."""
        count = images.shape[0]
        windows = images.view(count, 3, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, 16)
        windows = torch.tanh(self.mix(windows)).view(count, 2, 2, 3, 16)
        return self.head(windows.permute(0, 3, 1, 2, 4).reshape(count, -1))


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode with all parameters and statistics away from their neutral values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        for name, buffer in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += torch.rand(buffer.shape, generator=generator)
    return network.eval()


def images_of(count: int, *shape: int) -> Tensor:
    """Seeded images in [0, 1]."""
    return torch.rand(count, *(shape or (3, 8, 8)), generator=torch.Generator().manual_seed(1))


def save(network: nn.Module, path: Path, batch: int | None = None, **options: Any) -> Path:
    """Export the network for one batch size, or for any (None), and write the file."""
    dynamic = OPEN if batch is None else None
    program = torch.export.export(network, (images_of(batch or 2),), dynamic_shapes=dynamic, strict=False, **options)
    torch.export.save(program, path)
    return path


def save_old(network: nn.Module, path: Path) -> Path:
    """The layout that torch up to 2.7 wrote: no folder, pickled tensors."""
    from torch._export.serde.serialize import serialize

    program = torch.export.export(network, (images_of(2),), dynamic_shapes=OPEN, strict=False)
    artifact = serialize(program)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", artifact.exported_program)
        archive.writestr("serialized_state_dict.pt", artifact.state_dict)
        archive.writestr("serialized_constants.pt", artifact.constants)
        archive.writestr("serialized_example_inputs.pt", artifact.example_inputs)
    return path


def rewritten(path: Path, changes: dict[str, Callable[[bytes], bytes | None]]) -> Path:
    """A copy of a file in which members whose names end as given have other contents; None drops the member."""
    target = path.with_name(f"changed-{path.name}")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content: bytes | None = source.read(name)
            for ending, change in changes.items():
                if name.endswith(ending) and content is not None:
                    content = change(content)
            if content is not None:
                archive.writestr(name, content)
    return target


def edited(path: Path, edit: Callable[[dict[str, Any]], object], member: str = "models/model.json") -> Path:
    """A copy of a file with an edit of one of its JSON members."""

    def change(content: bytes) -> bytes:
        described = json.loads(content)
        edit(described)
        return json.dumps(described).encode()

    return rewritten(path, {member: change})
