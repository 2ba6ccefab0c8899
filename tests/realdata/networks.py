"""Architectures of the real weights in the shared folder, as a user would hand them to the tool: FILE.py:factory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """A residual block of the CIFAR ResNets; where it changes shape, the shortcut is the parameter-free option A."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU()
        self.planes, self.reshapes = planes, stride != 1 or inputs != planes

    def forward(self, images: Tensor) -> Tensor:
        features = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(images)))))
        shortcut = images
        if self.reshapes:
            side = self.planes // 4
            shortcut = functional.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, side, side))
        return self.relu2(features + shortcut)


class CifarResNet(nn.Module):
    """He et al., "Deep residual learning for image recognition", arXiv 1512.03385, section 4.2, option A."""

    def __init__(self, blocks: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(blocks, 16, 16, stride=1)
        self.layer2 = self._stage(blocks, 16, 32, stride=2)
        self.layer3 = self._stage(blocks, 32, 64, stride=2)
        self.linear = nn.Linear(64, classes)

    @staticmethod
    def _stage(blocks: int, inputs: int, planes: int, stride: int) -> nn.Sequential:
        first = Block(inputs, planes, stride)
        return nn.Sequential(first, *(Block(planes, planes, 1) for _ in range(blocks - 1)))

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.linear(torch.mean(features, dim=(2, 3)))


def resnet20() -> nn.Module:
    """For cifar_resnet20.th; mean .485 .456 .406, std .229 .224 .225."""
    return CifarResNet(blocks=3)


def _cnn_a(channels: int, flat: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(flat, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def mnist_cnn_a() -> nn.Module:
    """For mnist_cnn_a_adv.model; pixels go in unchanged."""
    return _cnn_a(1, 1568)


def cifar_cnn_a() -> nn.Module:
    """For cifar_cnn_a_adv.model; mean 125.3 123.0 113.9, std 63.0 62.1 66.7, all over 255."""
    return _cnn_a(3, 2048)
