"""The learning rate and epsilon of every step as closed forms; which weights decay."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lsa_audit.hardening.training.schedule import make_optimizer, make_schedule
from lsa_audit.settings.recipe import Recipe, ramp

EPOCHS, SPE, LR = 8, 5, 0.2
TOTAL = EPOCHS * SPE


def rates(schedule, warmup=0.0, order=None):
    recipe = Recipe(epochs=EPOCHS, lr=LR, schedule=schedule, warmup=warmup)
    optimizer = make_optimizer([nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))], recipe)
    schedule_at = make_schedule(optimizer, recipe, SPE)
    found = {}
    for step in order or range(TOTAL):
        schedule_at(step)
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        found[step] = rate
    return [found[step] for step in sorted(found)]


FORMS = {
    "none": lambda step: 1.0,
    "cosine": lambda step: 0.5 * (1 + math.cos(math.pi * step / TOTAL)),
    "linear": lambda step: 1 - step / TOTAL,
    # timm counts milestones from 1.
    "multistep": lambda step: 0.1 ** ((step + 1 >= 4 * SPE) + (step + 1 >= 6 * SPE)),
}


@pytest.mark.parametrize("warmup", [0.0, 1.5])
@pytest.mark.parametrize("schedule", FORMS)
def test_every_step_has_the_rate_of_the_formula(schedule, warmup):
    rising = [min(1.0, (step + 1) / math.ceil(1.5 * SPE)) if warmup else 1.0 for step in range(TOTAL)]
    expected = [LR * rise * FORMS[schedule](step) for step, rise in enumerate(rising)]
    assert rates(schedule, warmup) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("schedule", FORMS)
def test_a_step_has_its_rate_whatever_came_before(schedule):
    backwards = list(reversed(range(TOTAL)))
    assert rates(schedule, 1.0, backwards) == rates(schedule, 1.0)


def test_a_warm_up_rises_above_0_and_to_1():
    assert [ramp(step, 4, 1.0) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [ramp(step, 3, 0.5) for step in range(3)] == [0.5, 1.0, 1.0]
    assert ramp(0, 4, 0.0) == 1.0


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_biases_and_norms_do_not_decay(name, kind):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    recipe = Recipe(optimizer=name, weight_decay=0.03)
    optimizer = make_optimizer(list(network.parameters()), recipe)
    assert type(optimizer) is kind
    decay = {id(value): group["weight_decay"] for group in optimizer.param_groups for value in group["params"]}
    assert {key: decay[id(value)] for key, value in network.named_parameters()} == {
        "0.weight": 0.03,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "3.weight": 0.03,
        "3.bias": 0.0,
    }


def test_a_network_of_matrices_alone_has_one_group():
    optimizer = make_optimizer([nn.Parameter(torch.ones(2, 2))], Recipe(momentum=0.0))
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]
    assert not optimizer.param_groups[0]["nesterov"]
