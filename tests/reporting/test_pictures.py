from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lsa_audit.errors import DataError
from lsa_audit.records import AuditRecord
from lsa_audit.reporting import pictures as module
from lsa_audit.reporting.pictures import pictures

from .builders import build
from .shown_records import arrays, flipped, with_gallery


def record(channels: int = 3, height: int = 32, width: int = 32, count: int = 1) -> AuditRecord:
    base = build()
    model = base.model.model_copy(update={"input_shape": (channels, height, width)})
    return build(model=model, gallery=tuple(flipped(place, 3, 5) for place in range(count)))


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png), formats=["PNG"])


def constant(shown: AuditRecord, clean: float, adversarial: float) -> dict[str, np.ndarray]:
    shape = (len(shown.gallery), *shown.model.input_shape)
    values = {"gallery/clean": clean, "gallery/adversarial": adversarial}
    return {name: np.full(shape, value, np.float32) for name, value in values.items()}


def test_without_a_gallery_no_array_is_asked_for() -> None:
    assert pictures(build(), {}) == ()


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (28, 28, (112, 112)),
        (8, 8, (128, 128)),
        (32, 16, (64, 128)),
        (100, 100, (100, 100)),
        (224, 224, (160, 160)),
        (400, 2, (1, 160)),
    ],
)
def test_small_images_grow_by_whole_factors_and_large_ones_shrink(
    height: int, width: int, size: tuple[int, int]
) -> None:
    shown = record(1, height, width)
    (picture,) = pictures(shown, arrays(shown))
    for png in (picture.clean, picture.adversarial, picture.difference):
        assert opened(png).size == size
        assert opened(png).mode == "L"


def test_pixels_are_enlarged_without_smoothing_and_keep_their_colour() -> None:
    shown = record()
    evidence = dict(arrays(shown))
    evidence["gallery/clean"] = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    (picture,) = pictures(shown, evidence)
    found = np.asarray(opened(picture.clean))
    expected = evidence["gallery/clean"][0].transpose(1, 2, 0)
    assert np.array_equal(found, expected.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize(
    ("clean", "adversarial", "level"), [(0.2, 0.2, 128), (0.2, 0.23, 204), (0.23, 0.2, 51), (0.0, 1.0, 255), (1, 0, 0)]
)
def test_the_difference_is_ten_times_as_large_around_grey(clean: float, adversarial: float, level: int) -> None:
    shown = record()
    (picture,) = pictures(shown, constant(shown, clean, adversarial))
    assert np.unique(np.asarray(opened(picture.difference))).tolist() == [level]


def test_noise_in_a_large_image_keeps_its_size() -> None:
    shown = record(1, 320, 320)
    evidence = constant(shown, 0.5, 0.5)
    signs = np.random.default_rng(0).choice((-0.02, 0.02), (1, 1, 320, 320))
    evidence["gallery/adversarial"] = (0.5 + signs).astype(np.float32)
    (picture,) = pictures(shown, evidence)
    assert set(np.unique(np.asarray(opened(picture.difference))).tolist()) == {76, 178}


def test_pictures_follow_the_rows_that_the_record_names() -> None:
    shown, evidence = with_gallery(record(count=2), (flipped(1, 3, 5), flipped(0, 0, 8)))
    evidence["gallery/clean"][1] = 0
    first, second = pictures(shown, evidence)
    assert first.flipped == shown.gallery[0]
    assert np.asarray(opened(first.clean)).max() == 0 < np.asarray(opened(second.clean)).max()


def test_the_same_arrays_give_the_same_bytes() -> None:
    shown = record(count=2)
    assert pictures(shown, arrays(shown)) == pictures(shown, arrays(shown))


BAD = {
    "missing": (lambda good: None, "holds no gallery/adversarial"),
    "another count": (lambda good: good[:0], "has shape"),
    "flat": (lambda good: good.reshape(len(good), -1), "has shape"),
    "nan": (lambda good: np.full_like(good, np.nan), "outside"),
    "infinite": (lambda good: np.full_like(good, np.inf), "outside"),
    "above 1": (lambda good: good + 1, "outside"),
    "negative": (lambda good: good - 1, "outside"),
    "integers": (lambda good: good.astype(np.int64), "neither uint8 nor floats"),
    "text": (lambda good: good.astype(str), "neither uint8 nor floats"),
}


@pytest.mark.parametrize("name", BAD)
def test_arrays_that_are_not_the_records_are_refused(name: str) -> None:
    spoil, message = BAD[name]
    shown = record()
    evidence = dict(arrays(shown))
    spoiled = spoil(evidence.pop("gallery/adversarial"))
    if spoiled is not None:
        evidence["gallery/adversarial"] = spoiled
    with pytest.raises(DataError, match=message):
        pictures(shown, evidence)


@pytest.mark.parametrize("place", [-1, 1])
def test_a_row_that_is_not_there_is_refused(place: int) -> None:
    shown, evidence = with_gallery(record(), (flipped(place, 3, 5),))
    with pytest.raises(DataError, match="does not hold"):
        pictures(shown, evidence)


def test_two_channels_and_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = record(channels=2)
    with pytest.raises(DataError, match="shape"):
        pictures(shown, arrays(shown))
    monkeypatch.setattr(module, "MOST_VALUES", 3 * 32 * 32 - 1)
    with pytest.raises(DataError, match="shape"):
        pictures(record(), arrays(record()))
