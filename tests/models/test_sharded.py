"""Weights in several files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lsa_audit.errors import AuditError, ExitCode, ModelError, UnsafeError
from lsa_audit.models.checkpoint import read_payload
from lsa_audit.models.files import sniff
from lsa_audit.models.restoring import restore
from lsa_audit.settings.limits import Limits

INDEX = "model.safetensors.index.json"


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).eval()


def write(folder: Path, kind: str = "safetensors") -> Path:
    state = network().state_dict()
    halves = {1: ["0.weight", "0.bias"], 2: ["1.weight", "1.bias"]}
    places = {}
    for number, names in halves.items():
        part = {name: state[name] for name in names}
        file = f"model-{number}-of-2.{kind}"
        save_file(part, folder / file) if kind == "safetensors" else torch.save(part, folder / file)
        places |= dict.fromkeys(names, file)
    return index(folder, places)


def index(folder: Path, places: Any) -> Path:
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return folder / INDEX


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_the_shards_are_put_together(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    assert sniff(path) == "sharded"
    other = network(1)
    restored = restore(other, path)
    images = torch.rand(3, 4)
    assert torch.equal(other(images), network()(images))
    assert restored.weights == f"checkpoint {INDEX}"
    before = restored.sha256
    (tmp_path / f"model-2-of-2.{kind}").unlink()
    write(tmp_path, kind)
    save_file({"0.weight": torch.zeros(5, 4), "0.bias": torch.zeros(5)}, tmp_path / f"model-1-of-2.{kind}")
    assert restore(network(1), path).sha256 != before


@pytest.mark.parametrize(
    "place", ["../secret.safetensors", "/etc/passwd", "a/../../x", "a\\b", "C:x", "..", ".", "", "sub/x", "a\nb"]
)
def test_a_shard_elsewhere_is_refused_as_unsafe(tmp_path: Path, place: str) -> None:
    save_file({"0.weight": torch.ones(2)}, tmp_path.parent / "secret.safetensors")
    with pytest.raises(UnsafeError, match="no file beside it") as caught:
        read_payload(index(tmp_path, {"0.weight": place}))
    assert caught.value.exit_code == ExitCode.UNSAFE


def test_a_link_out_of_the_folder_is_refused_but_for_a_hub_cache(tmp_path: Path) -> None:
    hub = tmp_path / "models--owner--name"
    folder, blobs = hub / "snapshots" / "1", hub / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    save_file({"0.weight": torch.ones(2)}, blobs / "abc")
    (folder / "one.safetensors").symlink_to("../../blobs/abc")
    assert list(read_payload(index(folder, {"0.weight": "one.safetensors"}))[0]) == ["0.weight"]
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "one.safetensors").symlink_to(blobs / "abc")
    with pytest.raises(UnsafeError, match="links to outside its folder"):
        read_payload(index(plain, {"0.weight": "one.safetensors"}))


def test_what_the_index_and_the_shards_say_must_agree(tmp_path: Path) -> None:
    path = write(tmp_path)
    places = json.loads(path.read_text())["weight_map"]
    cases = {
        "needs 'gone.safetensors', which is missing": places | {"1.bias": "gone.safetensors"},
        "lacks 'more', which": places | {"more": "model-2-of-2.safetensors"},
        "holds '1.bias', which": {name: place for name, place in places.items() if name != "1.bias"},
        "lists no weights": {},
        "names no files": {"0.weight": 3},
    }
    for words, content in cases.items():
        with pytest.raises(ModelError, match=words):
            read_payload(index(tmp_path, content))


def test_the_limits_hold_for_all_together(tmp_path: Path) -> None:
    path = write(tmp_path)
    size = sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    with pytest.raises(UnsafeError, match="above the limits"):
        read_payload(path, Limits(total_bytes=size - 1))
    assert len(read_payload(path, Limits(total_bytes=size))[0]) == 4


@pytest.mark.parametrize("text", ["{", '{"weight_map": 3}', "{" * 100_000, '{"a": [' + "[" * 100_000])
def test_a_damaged_index_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(AuditError) as caught:
        read_payload(tmp_path / INDEX)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_shard_that_calls_for_code_is_refused(tmp_path: Path) -> None:
    torch.save({"0.weight": nn.Linear(2, 2)}, tmp_path / "one.bin")
    with pytest.raises(UnsafeError, match="calls for code"):
        read_payload(index(tmp_path, {"0.weight": "one.bin"}))
