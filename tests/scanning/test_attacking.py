"""From planned runs to verdicts: sweeps that skip needless epsilons, distances that answer them all, memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lsa_audit.attacks.base import Batch, Engine
from lsa_audit.errors import ModelError
from lsa_audit.records import Perturbation
from lsa_audit.scanning.attacking import AttackRunner, in_parts, verdicts
from lsa_audit.scanning.plan import Run

from ..attacks.linear import LinearCase, agree, linear_case

EPSILONS = (0.002, 0.005, 0.01, 0.02, 0.05)


def perturbation(name: str, epsilon: float, norm: str = "linf", **changes) -> Perturbation:
    fields = {
        "id": f"{name}@{norm}-{epsilon}",
        "name": name,
        "kind": "attack",
        "norm": norm,
        "epsilon": epsilon,
        "steps": 20,
        "step_size": epsilon / 4,
        "restarts": 1,
        "version": 1,
        "citation": "",
    }
    return Perturbation(**{**fields, **changes})


def entries(name: str, norm: str = "linf", **changes) -> tuple[Perturbation, ...]:
    return tuple(perturbation(name, epsilon, norm, **changes) for epsilon in EPSILONS)


@pytest.fixture
def case() -> LinearCase:
    return linear_case((3, 4, 4), 4, 24, seed=7, scale=0.03)


def batch_of(case: LinearCase, wrong: tuple[int, ...] = ()) -> Batch:
    labels = case.labels.clone()
    for index in wrong:
        labels[index] = (labels[index] + 1) % 4
    right = case.module(case.images).argmax(1) == labels
    return Batch(case.images, labels, tuple(str(index) for index in range(len(labels))), right)


def bench_of(module: nn.Module) -> AttackRunner:
    return AttackRunner(module, seed=0, engine=Engine(), views={})


def test_a_sweep_gives_the_verdicts_of_separate_runs_with_fewer_images(case):
    batch, runner = batch_of(case, wrong=(2, 9)), bench_of(case.module)
    swept = verdicts(runner, batch, Run(entries("pgd"), "bisect"))
    single = [verdicts(runner, batch, Run((entry,), "each"))[0] for entry in entries("pgd")]
    for found, expected in zip(swept, single, strict=True):
        assert torch.equal(found.outcome.right, expected.outcome.right)
        # Every stored image really is what its verdict says.
        assert agree(case, found.outcome.adversarial, batch.labels, found.outcome.right)
        inside = (found.outcome.adversarial - case.images).abs().amax((1, 2, 3)) <= found.perturbation.epsilon + 2e-6
        assert inside.all()
    shares = [float(found.outcome.right.float().mean()) for found in swept]
    assert shares[0] > shares[-1]
    assert not any(found.attacked[[2, 9]].any() for found in swept)
    met = torch.stack([found.attacked for found in swept]).sum(0)
    assert int(met.max()) <= 3
    assert sum(found.outcome.forwards for found in swept) < 0.85 * sum(found.outcome.forwards for found in single)


def test_one_search_for_the_nearest_answers_every_epsilon(case):
    batch, runner = batch_of(case, wrong=(4,)), bench_of(case.module)
    judged = verdicts(runner, batch, Run(entries("fab-t", minimal=True), "nearest"))
    optimum = case.optimum("linf")
    optimum[4] = 0.0
    for found in judged:
        clear = (optimum - found.perturbation.epsilon).abs() > 0.02 * optimum
        assert torch.equal(found.outcome.right[clear], (optimum > found.perturbation.epsilon)[clear])
        assert agree(case, found.outcome.adversarial, batch.labels, found.outcome.right)
    assert torch.allclose(judged[0].outcome.distance, optimum, rtol=0.02, atol=2e-6)


def test_a_measured_run_spends_the_whole_budget_on_every_image(case):
    batch, runner = batch_of(case, wrong=(4,)), bench_of(case.module)
    entry = perturbation("pgd", 0.05)
    (measured,) = verdicts(runner, batch, Run((entry,), "each", measured=True))
    (plain,) = verdicts(runner, batch, Run((entry,), "each"))
    assert measured.outcome.backwards == 20 * 24
    assert plain.outcome.backwards < 20 * 23
    assert torch.equal(measured.outcome.right, plain.outcome.right)
    assert torch.equal(plain.outcome.adversarial[4], case.images[4])


class Hungry(nn.Module):
    """Runs out of memory with more than a few images."""

    def __init__(self, network: nn.Module, most: int) -> None:
        super().__init__()
        sizes: list[int] = []
        self.network, self.most = network, most
        # Reached through functions: what a module itself holds is as before once an attack is over.
        self.note, self.noted = sizes.append, lambda: sizes

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.note(len(images))
        return self.network(images)


@pytest.mark.parametrize("mode", ["each", "bisect"])
def test_the_forwards_of_all_parts_are_those_that_the_model_ran(case, mode):
    counted = Hungry(case.module, len(case.images))
    planned = Run(entries("pgd") if mode == "bisect" else entries("pgd")[2:3], mode)
    judged = verdicts(bench_of(counted), batch_of(case, wrong=(2, 9)), planned)
    assert sum(found.outcome.forwards for found in judged) == sum(counted.noted()) > 0


@pytest.mark.parametrize("mode", ["each", "bisect"])
def test_where_memory_runs_out_the_batch_is_halved_and_nothing_changes(case, mode):
    batch = batch_of(case)
    hungry = Hungry(case.module, 7)
    planned = Run(entries("pgd") if mode == "bisect" else entries("pgd")[2:3], mode)
    plain = verdicts(bench_of(case.module), batch, planned)
    halved = verdicts(bench_of(hungry), batch, planned)
    assert max(hungry.noted()) <= 7
    for one, other in zip(plain, halved, strict=True):
        assert torch.equal(one.outcome.right, other.outcome.right)
        assert torch.allclose(one.outcome.adversarial, other.outcome.adversarial, atol=1e-6)
        assert (one.outcome.forwards, one.outcome.backwards) == (other.outcome.forwards, other.outcome.backwards)


def test_a_single_image_that_does_not_fit_is_an_error_and_other_errors_pass_through(case):
    with pytest.raises(ModelError, match="memory runs out"):
        verdicts(bench_of(Hungry(case.module, 0)), batch_of(case), Run(entries("pgd")[:1], "each"))
    with pytest.raises(RuntimeError, match="shapes"):
        in_parts(lambda batch: (_ for _ in ()).throw(RuntimeError("shapes differ")), batch_of(case))


def test_a_batch_must_say_what_is_right_before(case):
    with pytest.raises(ValueError, match="right before"):
        verdicts(bench_of(case.module), replace(batch_of(case), right=None), Run(entries("pgd"), "bisect"))
