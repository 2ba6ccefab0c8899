from __future__ import annotations

import zipfile

import numpy
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lsa_audit.data import arrays, load, loaders
from lsa_audit.data.archive_parts import PART_WORDS
from lsa_audit.data.base import DataRequest, InputSpec, describe, remarks
from lsa_audit.errors import DataError, UsageError


@pytest.mark.parametrize(
    "keys",
    [
        *(("images", "labels"), ("x", "y"), ("x_test", "y_test"), ("data", "targets"), ("X", "y"), ("Xtest", "ytest")),
        *(("train_images", "train_labels"), ("test_images", "test_labels"), ("image", "label"), ("arr_0", "arr_1")),
        *(("X_train", "y_train"), ("x_val", "y_val"), ("images_test", "labels_test"), ("data", "target")),
    ],
)
def test_every_pair_of_names_is_found(keys, coded, save_npz):
    images, labels = coded((2, 3))
    path = save_npz(**{keys[0]: images, keys[1]: labels, "other": numpy.zeros(3)})
    data = arrays.load(DataRequest(path), InputSpec())
    assert data.labels.tolist() == labels.tolist()
    assert (data.name, data.source, data.total) == ("data", "arrays", 5)


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "NF"])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize(("samples", "chosen"), [(None, None), (6, None), (None, (3, 11)), (5, (3, 14))])
def test_labels_stay_with_their_images(layout, kind, samples, chosen, coded, save_npz):
    images, labels = coded((8, 3, 5))
    turned = {
        "NHW": images[..., 0],
        "NHWC": images,
        "NCHW": images.transpose(0, 3, 1, 2),
        "NF": images.reshape(len(images), -1),
    }[layout]
    stored = turned if kind == "uint8" else (turned / 255).astype(kind)
    spec = InputSpec() if layout == "NF" else InputSpec(shape=(3, 6, 6))
    request = DataRequest(save_npz(images=stored, labels=labels), samples=samples, slice=chosen, seed=4)
    data = arrays.load(request, spec)
    pixels = data.images(0, len(data)).reshape(len(data), -1)
    assert torch.equal((pixels.mean(dim=1) * 255).round().long() // 20, data.labels)
    assert data.labels.tolist() == [labels[int(image_id)] for image_id in data.image_ids]
    assert len(data) == (samples or (16 if chosen is None else chosen[1] - chosen[0]))
    assert (data.total, data.classes, data.largest_label) == (16, 3, 2)


def test_interpretation_says_what_it_was_taken_for(coded, save_npz):
    images, labels = coded((2, 3), size=5, channels=3)
    data = arrays.load(DataRequest(save_npz(images=images, labels=numpy.eye(2)[labels])), InputSpec())
    assert (
        data.interpretation == "uint8 NHWC, 5 x 5 x 5 x 3, the largest value is 25 of 255; one-hot labels of 2 classes"
    )


def test_layout_in_the_file_settles_the_doubt(save_npz):
    images = numpy.arange(2 * 3 * 5 * 3, dtype="uint8").reshape(2, 3, 5, 3)
    path = save_npz(images=images, labels=numpy.array([0, 1]), layout=numpy.array("NCHW"))
    assert arrays.load(DataRequest(path), InputSpec()).pixels.shape == (2, 3, 5, 3)
    path = save_npz(images=images, labels=numpy.array([0, 1]), layout=numpy.array("NHWC"))
    assert arrays.load(DataRequest(path), InputSpec()).pixels.shape == (2, 3, 3, 5)


def test_objects_in_arrays_that_are_not_needed_are_not_read(save_npz):
    things = numpy.array(["a", {"b": 1}], dtype=object)
    images, labels = numpy.full((2, 5, 5, 3), 9, dtype="uint8"), numpy.array([0, 1])
    path = save_npz(images=images, labels=labels, names=things, layout=things)
    assert len(arrays.load(DataRequest(path), InputSpec()).labels) == 2
    parts = {"x_train": things, "y_train": things, "x_test": images, "y_test": labels}
    assert len(arrays.load(DataRequest(f"{save_npz(**parts)}:test"), InputSpec()).labels) == 2
    with pytest.raises(DataError, match="holds Python objects"):
        arrays.load(DataRequest(save_npz(images=things, labels=labels)), InputSpec())


@pytest.mark.parametrize(
    "header", ["{'descr': '<f4', 'shape': (2, 3", "{'descr': '<f4',\n  'shape'\n }", "((((", "{'a': 1e999}"]
)
def test_a_header_that_is_no_literal_is_one_line(tmp_path, header):
    content = header.encode().ljust(117) + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content + b"\0" * 24
    with zipfile.ZipFile(tmp_path / "broken.npz", "w") as archive:
        archive.writestr("images.npy", array)
        archive.writestr("labels.npy", array)
    with pytest.raises(DataError, match=r"broken.npz cannot be read: .*save it again"):
        arrays.load(DataRequest(str(tmp_path / "broken.npz")), InputSpec())


def test_only_chosen_images_are_resized(coded, save_npz, monkeypatch):
    seen = []
    original = arrays.to_input
    monkeypatch.setattr(arrays, "to_input", lambda pixels, spec: seen.append(len(pixels)) or original(pixels, spec))
    images, labels = coded((30, 30))
    arrays.load(DataRequest(save_npz(images=images, labels=labels), samples=4), InputSpec(shape=(3, 64, 64)))
    assert seen == [4]


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_in_memory(kind):
    pixels = torch.tensor([0, 128, 255, 64], dtype=torch.uint8).reshape(1, 1, 2, 2)
    given = pixels if kind == torch.uint8 else (pixels.double() / 255).to(kind)
    data = arrays.from_arrays(given.requires_grad_(kind.is_floating_point), [3], InputSpec())
    assert data.source == "memory"
    assert (data.images(0, 1) - pixels / 255).abs().max() < 0.004


def test_memory_is_copied(coded):
    images, labels = coded((2, 2))
    floats = (images / 255).astype("float32")
    for given in (images, floats):
        data = arrays.from_arrays(given, labels, InputSpec())
        before = describe(data).sha256
        given[:] = 0
        assert describe(data).sha256 == before


def test_torch_data_sets_and_loaders_equal_the_arrays(coded):
    images, labels = coded((5, 4), channels=3)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    items = TensorDataset(pixels, torch.from_numpy(labels))
    expected = describe(arrays.from_arrays(pixels, labels, InputSpec())).sha256
    for loader in (items, DataLoader(items, batch_size=4), DataLoader(items, batch_size=1)):
        assert describe(loaders.from_loader(loader, InputSpec())).sha256 == expected


def test_reading_a_loader_leaves_the_global_generator_alone(coded):
    images, labels = coded((5, 4))
    before = torch.get_rng_state()
    loaders.from_loader(DataLoader(TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))), InputSpec())
    assert torch.equal(torch.get_rng_state(), before)


def test_layout_of_a_loader_can_be_stated():
    items = TensorDataset(torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 0, 1]))
    assert loaders.from_loader(items, InputSpec(), layout="NCHW").pixels.shape == (4, 1, 3, 3)
    assert loaders.from_loader(items, InputSpec(), layout="NHWC").pixels.shape == (4, 3, 1, 3)


@pytest.mark.parametrize("images", [[[1.0], [1.0, 2.0]], torch.eye(4).to_sparse()])
def test_things_that_are_no_arrays_are_refused(images):
    with pytest.raises(DataError, match="is not an array"):
        arrays.from_arrays(images, [0, 1], InputSpec())


class Raising(TensorDataset):
    def __getitem__(self, index):
        raise KeyError("lost")


ITEMS = TensorDataset(torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 0, 1]))


@pytest.mark.parametrize(
    ("loader", "part"),
    [
        (DataLoader(ITEMS, shuffle=True), "shuffle=False"),
        (Raising(torch.rand(4, 1)), "KeyError"),
        (TensorDataset(torch.rand(4, 1, 3, 3)), "have 1 parts, not an image and a label"),
        ([(torch.rand(1, 3, 3), 0), (torch.rand(1, 4, 4), 1)], "failed with RuntimeError"),
        ([], "no images"),
        (TensorDataset(torch.randn(40, 1, 4, 4), torch.zeros(40)), "not within"),
    ],
)
def test_unfit_loaders_are_refused(loader, part):
    with pytest.raises(DataError, match=part):
        loaders.from_loader(loader, InputSpec())


@pytest.mark.realdata
def test_mnist_test_images(shared):
    data = arrays.load(DataRequest(str(shared / "data/mnist/mnist_test.npz"), samples=1000), InputSpec(channels=1))
    assert data.pixels.shape == (1000, 1, 28, 28)
    assert data.labels.bincount().tolist() == [100] * 10
    assert (data.total, data.classes, data.image_ids[0]) == (10000, 10, str(int(data.image_ids[0])))


@pytest.mark.realdata
def test_cifar_slice_is_the_official_order(shared):
    path = shared / "data/cifar10/cifar10_test_first1000.npz"
    with numpy.load(path) as archive:
        images, labels = archive["images"], archive["labels"]
    data = arrays.load(DataRequest(str(path), slice=(10, 50)), InputSpec(shape=(3, 32, 32)))
    assert torch.equal(data.pixels, torch.from_numpy(images[10:50]).permute(0, 3, 1, 2))
    assert data.labels.tolist() == labels[10:50].tolist()
    assert data.image_ids == tuple(str(index) for index in range(10, 50))


PARTS = {"train_images": 3, "train_labels": 3, "val_images": 4, "val_labels": 4, "test_images": 5, "test_labels": 5}


def parted(save_npz, **names):
    """An archive of parts of different sizes, labels as [N, 1], as MedMNIST has them."""
    held = {key: numpy.full((count, 4, 4), 200, dtype="uint8") for key, count in PARTS.items() if "images" in key}
    held |= {key: numpy.zeros((count, 1), dtype="uint8") for key, count in PARTS.items() if "labels" in key}
    return save_npz(**held)


def test_several_parts_are_named_and_one_is_chosen(save_npz):
    path = parted(save_npz)
    with pytest.raises(UsageError, match=r"holds train and val and test images; give --data data\.npz:train or "):
        load(DataRequest(path), InputSpec())
    for part, count in (("train", 3), ("val", 4), ("test", 5), ("TEST", 5), ("validation", 4)):
        data = load(DataRequest(f"{path}:{part}"), InputSpec())
        assert (data.total, data.name) == (count, f"data-{PART_WORDS[part.lower()]}")
    assert remarks(data) == ("images and labels are val_images and val_labels of data.npz",)


@pytest.mark.parametrize("part", ["train", "dev", "images"])
def test_parts_that_are_not_there_are_refused(save_npz, part):
    path = save_npz(x_test=numpy.full((2, 4, 4), 200, dtype="uint8"), y_test=numpy.array([0, 1]))
    with pytest.raises(UsageError) as caught:
        load(DataRequest(f"{path}:{part}"), InputSpec())
    assert "test" in str(caught.value)


def test_only_the_chosen_part_is_read(save_npz, monkeypatch):
    path = parted(save_npz)
    seen = []
    original = numpy.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(
        numpy.lib.npyio.NpzFile, "__getitem__", lambda self, key: seen.append(key) or original(self, key)
    )
    load(DataRequest(f"{path}:test"), InputSpec())
    assert sorted(set(seen)) == ["test_images", "test_labels"]


@pytest.mark.parametrize("kind", ["int32", "int64", "uint16", "float32", "float64"])
def test_levels_of_other_types_are_the_same_pixels(kind, save_npz):
    images = numpy.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=numpy.uint8)
    labels = numpy.array([0, 1, 0, 1])
    expected = arrays.load(DataRequest(save_npz(images=images, labels=labels)), InputSpec())
    data = arrays.load(DataRequest(save_npz(images=images.astype(kind), labels=labels)), InputSpec())
    assert torch.equal(data.pixels, expected.pixels)
    assert data.interpretation == f"{kind} NHWC, 4 x 5 x 6 x 3, divided by 255; int64 labels"
