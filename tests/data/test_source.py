from __future__ import annotations

import torch

from lsa_audit.data.base import DataRequest
from lsa_audit.data.source import Source, assemble


def make(labels, **options) -> tuple[Source, list]:
    asked = []

    def read(indices):
        asked.append(indices.tolist())
        return indices[:, None].float() / 100, ("halved",)

    ids = [f"id{index}" for index in range(len(labels))]
    return Source("name", "loader", "taken for", torch.tensor(labels), ids, read, **options), asked


def test_only_the_chosen_positions_are_read():
    source, asked = make([0, 1, 2] * 10)
    data = assemble(source, DataRequest("x", samples=6, slice=(3, 24), seed=1))
    positions = (data.pixels[:, 0] * 100).round().long()
    assert asked == [positions.tolist()]
    assert data.image_ids == tuple(f"id{index}" for index in positions.tolist())
    assert torch.equal(data.labels, positions % 3)
    assert data.labels.bincount().tolist() == [2, 2, 2]
    assert data.transforms == ("halved",)


def test_class_count_and_largest_label_come_from_the_whole_source():
    data = assemble(make([0, 0, 0, 1, 2])[0], DataRequest("x", slice=(0, 2)))
    assert (data.classes, data.largest_label, data.total) == (3, 2, 5)
    data = assemble(make([0, 0, 7])[0], DataRequest("x", slice=(0, 2)))
    assert (data.classes, data.largest_label) == (None, 7)


def test_stated_class_count_wins():
    assert assemble(make([0, 1], classes=10)[0], DataRequest("x")).classes == 10
