from __future__ import annotations

import math
import re

import pytest

from lsa_audit.reporting.plots import training

from ..builders import RESNET
from ..hardening_records import epoch, hardening, shift, trained, untouched, without_checkpoint


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_layer_figure_has_both_curves_and_rings_the_chosen() -> None:
    layers, _ = training.figures(hardening())
    shown = labels(layers.svg)
    assert {"before", "after", "regularised", "mean relative error"} <= set(shown)
    assert [label for label in shown if label in RESNET] == list(RESNET)
    assert "under pgd@linf-4/255" in layers.description
    only_before, _ = training.figures(without_checkpoint())
    assert "after" not in labels(only_before.svg)
    assert "nothing after" in only_before.description
    assert "regularised" not in labels(training.figures(untouched())[0].svg)


def test_errors_of_very_different_size_are_drawn_on_a_log_scale() -> None:
    layers = (shift("first", 0.01, 0.02), shift("last", 3.0, 1.0))
    assert "mean relative error (log scale)" in labels(training.figures(hardening(layers=layers))[0].svg)
    layers = (shift("first", 0.0, 0.02), shift("last", 3.0, 1.0))
    assert "mean relative error" in labels(training.figures(hardening(layers=layers))[0].svg)


@pytest.mark.slow
def test_of_many_layers_some_are_named() -> None:
    layers = tuple(shift(f"layers.{place}.conv", 1.0, 0.5) for place in range(150))
    shown = [
        label for label in labels(training.figures(hardening(layers=layers))[0].svg) if label.startswith("layers.")
    ]
    assert len(shown) == 50


@pytest.mark.slow
def test_the_training_figure_has_every_curve_and_the_kept_epoch() -> None:
    _, curves = training.figures(hardening())
    named = {"loss", "of it penalty", "validation, clean", "validation, PGD", "training, attacked", "kept epoch"}
    assert named <= set(labels(curves.svg))
    assert "epoch 10" in curves.description
    plain = tuple(epoch(number, penalty=None) for number in (1, 2))
    _, without = training.figures(hardening(log=trained(epochs=plain, kept_epoch=None)))
    assert not {"of it penalty", "kept epoch"} & set(labels(without.svg))
    assert "No epoch was kept." in without.description


@pytest.mark.slow
def test_a_loss_that_is_not_finite_leaves_a_gap_not_an_error() -> None:
    log = trained(epochs=(epoch(1), epoch(2, loss=math.nan, penalty=math.inf)), kept_epoch=1)
    record = hardening(log=log)
    assert "loss" in labels(training.figures(record)[1].svg)
    assert "nan" not in training.figures(record)[1].svg


def test_without_layers_and_epochs_it_is_said_in_place_of_a_drawing() -> None:
    layers, curves = training.figures(hardening(layers=(), log=trained(epochs=(), kept_epoch=None)))
    assert (layers.svg, curves.svg) == ("", "")
    assert "No layer was measured" in layers.description
    assert "No epoch was finished" in curves.description


@pytest.mark.slow
def test_many_epochs_are_a_line_without_marks() -> None:
    marks = []
    for number in (training.MARKED_EPOCHS, training.MARKED_EPOCHS + 1):
        log = trained(epochs=tuple(epoch(1 + place) for place in range(number)))
        marks.append(training.figures(hardening(log=log))[1].svg.count("<use "))
    assert marks[0] > marks[1] + number
