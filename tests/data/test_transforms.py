from __future__ import annotations

import numpy
import pytest
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from lsa_audit.data.base import InputSpec
from lsa_audit.data.transforms import INTERPOLATIONS, photo_sentence, photo_transform, scale, to_input
from lsa_audit.errors import DataError


def random_pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_fitting_pixels_pass_unchanged():
    pixels = random_pixels(2, 3, 8, 8)
    for spec in (InputSpec(), InputSpec(shape=(3, 8, 8)), InputSpec(channels=3)):
        result, done = to_input(pixels, spec)
        assert torch.equal(result, pixels)
        assert done == ()


def test_gray_is_repeated_for_a_colour_model():
    pixels = random_pixels(2, 1, 8, 8)
    for spec in (InputSpec(shape=(3, 8, 8)), InputSpec(channels=3)):
        result, done = to_input(pixels, spec)
        assert torch.equal(result, torch.cat([pixels] * 3, dim=1))
        assert done == ("gray to RGB (the channel repeated)",)


def test_rgb_with_equal_channels_becomes_gray():
    pixels = random_pixels(2, 1, 8, 8)
    result, done = to_input(pixels.repeat(1, 3, 1, 1), InputSpec(channels=1))
    assert torch.equal(result, pixels)
    assert done == ("RGB to gray (its three channels are equal)",)


def test_colour_for_a_gray_model_is_refused():
    pixels = random_pixels(2, 1, 8, 8).repeat(1, 3, 1, 1)
    pixels[1, 2, 7, 7] ^= 1
    with pytest.raises(DataError, match="wants gray images and the data is in colour"):
        to_input(pixels, InputSpec(shape=(1, 8, 8)))


@pytest.mark.parametrize("interpolation", sorted(INTERPOLATIONS))
@pytest.mark.parametrize("size", [(12, 18), (5, 3)])
def test_bytes_are_resized_as_pillow_resizes_the_whole_image(interpolation, size):
    pixels = random_pixels(3, 3, 8, 9)
    result, done = to_input(pixels, InputSpec(shape=(3, *size), interpolation=interpolation))
    for image, resized in zip(pixels, result, strict=True):
        method = getattr(Image.Resampling, interpolation.upper())
        expected = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], method)
        assert numpy.array_equal(resized.permute(1, 2, 0).numpy(), numpy.array(expected))
    note = "" if interpolation == "nearest" else ", antialiased"
    assert done == (f"resized 8x9 to {size[0]}x{size[1]} ({interpolation}{note})",)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [12, 5])
def test_floats_are_resized_as_torch_does_with_antialias(interpolation, size):
    pixels = random_pixels(2, 3, 8, 8).float() / 255
    result, _ = to_input(pixels, InputSpec(shape=(3, size, size), interpolation=interpolation))
    expected = torch.nn.functional.interpolate(
        pixels, (size, size), mode=interpolation, antialias=True, align_corners=False
    ).clamp(0, 1)
    assert result.dtype == torch.float32
    assert (result - expected).abs().max() < 1e-5


def test_overshoot_stays_in_range():
    pixels = torch.zeros(1, 1, 8, 8)
    pixels[..., 4:] = 1
    result, _ = to_input(pixels, InputSpec(shape=(1, 32, 32)))
    assert (float(result.min()), float(result.max())) == (0.0, 1.0)


def test_gray_is_resized_and_repeated_in_that_order_of_sentences():
    result, done = to_input(random_pixels(2, 1, 8, 8), InputSpec(shape=(3, 16, 16)))
    assert result.shape == (2, 3, 16, 16)
    assert done == ("resized 8x8 to 16x16 (bicubic, antialiased)", "gray to RGB (the channel repeated)")


@pytest.mark.parametrize(
    ("shape", "spec", "part"),
    [
        ((2, 5), InputSpec(shape=(3, 8, 8)), r"wants images \(\(3, 8, 8\)\) and the data holds vectors of 5"),
        ((2, 5), InputSpec(channels=3), "wants images"),
        ((2, 5), InputSpec(shape=(4,)), "wants 4 features and the data has 5"),
        ((2, 1, 8, 8), InputSpec(shape=(64,)), r"wants 64 features .* flatten"),
        ((2, 3, 8, 8), InputSpec(shape=(4, 8, 8)), "wants 4 channels and the images have 3"),
        ((2, 4, 8, 8), InputSpec(shape=(3, 8, 8)), "wants 3 channels and the images have 4"),
        ((2, 3, 8, 8), InputSpec(shape=(8, 8)), r"input \(8, 8\) is not"),
        ((2, 3, 8, 8), InputSpec(shape=(3, 0, 8)), r"input \(3, 0, 8\) is not"),
        ((2, 3, 8, 8), InputSpec(interpolation="random"), "interpolation 'random' is unknown"),
        ((2, 3, 8, 8), InputSpec(crop_share=0.0), "crop share 0.0"),
        ((2, 3, 8, 8), InputSpec(crop_share=1.5), "crop share 1.5"),
    ],
)
def test_mismatches_are_refused(shape, spec, part):
    with pytest.raises(DataError, match=part):
        to_input(random_pixels(*shape), spec)


def test_features_pass_when_they_fit():
    pixels = random_pixels(2, 5)
    assert to_input(pixels, InputSpec(shape=(5,)))[0] is pixels
    assert to_input(pixels, InputSpec())[0] is pixels


@pytest.mark.parametrize("size", [(300, 256), (256, 300), (500, 281), (20, 31)])
def test_photo_is_resized_on_the_short_side_and_cropped_in_the_centre(size):
    photo = Image.fromarray(random_pixels(size[1], size[0], 3).numpy())
    result = photo_transform(InputSpec(shape=(3, 224, 224), crop_share=0.875))(photo)
    width, height = (256, int(256 * size[1] / size[0])) if size[0] < size[1] else (int(256 * size[0] / size[1]), 256)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    expected = photo.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    assert result.dtype == torch.uint8
    assert numpy.array_equal(result.permute(1, 2, 0).numpy(), numpy.array(expected))


def test_photo_for_an_oblong_input_covers_it():
    photo = Image.fromarray(random_pixels(40, 60, 3).numpy())
    spec = InputSpec(shape=(3, 20, 10))
    assert photo_transform(spec)(photo).shape == (3, 20, 10)
    assert photo_sentence(20, 10, spec) == "resized to cover 20x10 (bicubic), centre crop 20x10"


def test_photo_sentence_names_side_and_crop():
    spec = InputSpec(shape=(3, 224, 224), crop_share=0.875, interpolation="bilinear")
    assert photo_sentence(224, 224, spec) == "short side to 256 (bilinear), centre crop 224x224"


def test_photo_without_a_wanted_shape_keeps_its_size():
    pixels = random_pixels(5, 7, 3)
    assert torch.equal(photo_transform(InputSpec())(Image.fromarray(pixels.numpy())), pixels.permute(2, 0, 1))
    gray = photo_transform(InputSpec())(Image.fromarray(pixels[..., 0].contiguous().numpy()))
    assert torch.equal(gray, pixels[None, ..., 0])


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("size", [(30, 40), (41, 33), (20, 20), (28, 28)])
@pytest.mark.parametrize("share", [0.875, 1.0, 0.5])
def test_arrays_are_cropped_as_timm_crops_photos_where_that_is_asked_for(mode, size, share):
    pixels = random_pixels(2, 3, *size)
    spec = InputSpec((3, 21, 21), crop_share=share, interpolation="bilinear", crop_mode=mode, crops_arrays=True)
    transform = create_transform((21, 21), interpolation="bilinear", crop_pct=share, crop_mode=mode, normalize=False)
    result, done = to_input(pixels, spec)
    for image, found in zip(pixels, result, strict=True):
        assert torch.equal(found, transform(Image.fromarray(image.permute(1, 2, 0).numpy())))
    assert "centre crop 21x21" in done[0]


def test_photos_are_squashed_where_the_weights_want_it():
    photo = Image.fromarray(random_pixels(1, 3, 30, 50)[0].permute(1, 2, 0).numpy())
    spec = InputSpec((3, 20, 20), crop_share=0.8, crop_mode="squash")
    both = photo.resize((25, 25), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(numpy.array(both.crop((2, 2, 22, 22)))).permute(2, 0, 1)
    assert torch.equal(photo_transform(spec)(photo), expected)
    assert photo_sentence(20, 20, spec) == "both sides to 25x25 (bicubic), centre crop 20x20"
    with pytest.raises(DataError, match="crop mode 'border' is not supported"):
        to_input(random_pixels(1, 3, 8, 8), InputSpec((3, 8, 8), crop_mode="border"))


@pytest.mark.parametrize(("side", "said"), [(32, "enlarged 7 times"), (112, None), (300, None)])
def test_a_large_enlargement_is_said(side, said):
    _, done = to_input(random_pixels(1, 3, side, side), InputSpec((3, 224, 224)))
    assert [step.partition(":")[0] for step in done[1:]] == ([said] if said else [])
    assert scale((side, side), InputSpec((3, 224, 224), crop_share=0.875)) == 256 / side
    assert scale((side, side), InputSpec()) == 1.0
