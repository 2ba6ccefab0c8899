"""Images whose white was lost."""

from __future__ import annotations

import pytest

from .records import found, levels, record


def dark(largest):
    return record(data=record().data.model_copy(update={"largest_pixel": largest}))


@pytest.mark.parametrize(
    ("largest", "said"),
    [
        (0.0, "The largest pixel value is 0 of 255."),
        (15 / 255, "The largest pixel value is 15 of 255: are these 4-bit images?"),
        (16 / 255, "The largest pixel value is 16 of 255: are these 4-bit images?"),
        (63 / 255, "The largest pixel value is 63 of 255: are these 6-bit images?"),
        (64 / 255, "The largest pixel value is 64 of 255: are these 6-bit images?"),
        (50 / 255, "The largest pixel value is 50 of 255."),
        (0.1001, "The largest pixel value is 0.1 of 1."),
    ],
)
def test_dark_images_are_a_warning_that_names_their_largest_value(largest, said):
    (finding,) = found("pixel-range", dark(largest))
    assert (finding.level, finding.message.split(" The scan")[0]) == ("warning", said)


@pytest.mark.parametrize("largest", [None, 65 / 255, 0.26, 1.0])
def test_others_and_old_records_are_not(largest):
    assert levels("pixel-range", dark(largest)) == []
