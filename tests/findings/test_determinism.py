"""Random outputs, training mode, batches that are coupled."""

from __future__ import annotations

import pytest

from .records import attack, found, health, levels, record


@pytest.mark.parametrize(("difference", "expected"), [(1e-4, []), (2e-4, ["warning"]), (0.02, ["error"])])
def test_two_forwards_that_differ(difference, expected):
    assert levels("random-outputs", record(health=health(repeat_difference=difference))) == expected


def test_randomness_matters_less_where_everything_falls():
    subject = record(attack("pgd", 0), health=health(repeat_difference=0.3))
    assert levels("random-outputs", subject) == ["warning"]


@pytest.mark.parametrize(
    ("layers", "words"), [(("drop",), "drop stays in training mode"), (("drop", "bn"), "drop and 1 more stay in")]
)
def test_layers_that_stay_in_training_mode(layers, words):
    (finding,) = found("training-mode", record(health=health(training_layers=layers)))
    assert finding.level == "warning"
    assert words in finding.message


def test_no_such_layers():
    assert found("training-mode", record()) == []


@pytest.mark.parametrize(("independent", "expected"), [(True, []), (None, []), (False, ["error"])])
def test_a_model_that_couples_images(independent, expected):
    graph = record().graph.model_copy(update={"batch_independent": independent})
    assert levels("batch-coupled", record(graph=graph)) == expected


def test_nothing_is_known_of_the_model():
    for rule in ("random-outputs", "training-mode", "probability-outputs", "saturated-logits", "noise-beats-gradient"):
        assert found(rule, record(health=None)) == []
