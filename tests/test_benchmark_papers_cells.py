"""Cells of the reproductions are kept whole and not run again; their settings fit the networks and the data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.papers import __main__ as command
from benchmarks.papers import cells, cifar, mnist, moon, page
from benchmarks.papers.experiment import Look, Sizes
from lsa_audit.errors import DataError, ModelError
from lsa_audit.graph.walker import walk
from lsa_audit.models import fit, from_module


class TestFill:
    @pytest.fixture
    def ran(self, monkeypatch):
        """The cells that were run, each of which fails on seed 2 and is cut on seed 3."""
        names = []

        def run(experiment, setting, seed, parts, machine):
            names.append(f"{setting.name}-{seed}")
            if seed == 2:
                raise ModelError("the loss is nan at step 3", "lower --lr")
            if seed == 3:
                raise KeyboardInterrupt
            return {"looks": [seed]}

        monkeypatch.setattr(cells, "run", run)
        return names

    def fill(self, folder, *seeds):
        wanted = [(mnist.EXPERIMENT.setting("at"), seed) for seed in seeds]
        cells.fill(mnist.EXPERIMENT, None, wanted, folder, cells.Machine())

    def test_a_cell_that_is_there_is_not_run_again(self, ran, tmp_path):
        self.fill(tmp_path / "cells", 0, 1)
        before = (tmp_path / "cells" / "at-0.json").read_bytes()
        self.fill(tmp_path / "cells", 0, 1, 4)
        assert ran == ["at-0", "at-1", "at-4"]
        assert (tmp_path / "cells" / "at-0.json").read_bytes() == before
        found = cells.read(tmp_path / "cells")
        assert [(one["setting"], one["seed"], one["looks"]) for one in found] == [
            ("at", 0, [0]),
            ("at", 1, [1]),
            ("at", 4, [4]),
        ]

    def test_a_run_that_is_cut_leaves_whole_cells_alone(self, ran, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            self.fill(tmp_path, 0, 3, 1)
        assert [path.name for path in tmp_path.iterdir()] == ["at-0.json"]

    def test_a_training_that_fails_is_kept_and_said(self, ran, tmp_path):
        self.fill(tmp_path, 2, 0)
        assert ran == ["at-2", "at-0"]
        first, second = cells.read(tmp_path)
        assert "failed" not in first
        assert second["failed"].startswith("the loss is nan at step 3")


@pytest.mark.parametrize("experiment", command.EXPERIMENTS.values(), ids=lambda experiment: experiment.name)
def test_settings_can_be_trained_and_name_published_rows(experiment):
    for setting in experiment.settings:
        recipe = cells.recipe_of(experiment, setting, 3, "float32")
        assert recipe.seed == 3
        assert bool(setting.gammas) == (recipe.reg != "none")
        assert setting.row is None or len(experiment.published[setting.row]) == len(experiment.grid)
        assert setting.base is None or experiment.setting(setting.base)
    rows = [setting.row for setting in experiment.settings if setting.row]
    assert set(rows) == set(experiment.published)


@pytest.mark.slow_except("moon")
@pytest.mark.parametrize(
    ("network", "shape", "wanted"),
    [
        (mnist.network, (1, 28, 28), set(mnist.HIDDEN)),
        (moon.network, (2,), {moon.LAYER}),
        (lambda: cifar.vgg19((8, 8, 0, 8)), (3, 32, 32), {"relu1"}),
        pytest.param(lambda: cifar.wideresnet(1, 1), (3, 32, 32), {"block0_0.relu2"}, marks=pytest.mark.slow),
    ],
    ids=["mnist", "moon", "vgg", "wideresnet"],
)
def test_the_layers_of_the_settings_exist(network, shape, wanted):
    images = torch.rand(3, *shape)
    model = from_module(network().eval())
    model.module.eval()
    names = {layer.info.name for layer in walk(fit(model, images), images).layers}
    assert wanted <= names


def test_vgg_has_16_convolutions_and_wideresnet_28():
    vgg, wide = cifar.vgg19(), cifar.wideresnet(width=2)
    assert sum(isinstance(module, torch.nn.Conv2d) for module in vgg) == 16
    assert sum(isinstance(module, torch.nn.Conv2d) for module in wide.modules()) == 28
    # Published for WRN-28-10: 36.5 million.
    with torch.device("meta"):
        assert sum(value.numel() for value in cifar.wideresnet().parameters()) == pytest.approx(36.5e6, rel=0.01)


def test_moons_are_three_parts_far_from_the_edges():
    sizes = moon.EXPERIMENT.sizes
    parts = moon.load(None, sizes)
    assert tuple(map(len, parts)) == (sizes.training, sizes.validation, sizes.test)
    points = torch.cat([dataset.pixels for dataset in parts])
    assert len(points.unique(dim=0)) == len(points)
    farthest = moon.EXPERIMENT.grid[-1] / moon.SCALE
    assert points.min() > farthest
    assert points.max() < 1 - farthest


@pytest.mark.realdata
def test_mnist_and_cifar_parts_share_no_image(shared):
    for module, sizes in ((mnist, Sizes(100, 50, 30, 5, 5)), (cifar, Sizes(100, 50, 30, 5, 5))):
        training, validation, test = module.load(shared / "data", sizes)
        assert (len(training), len(validation), len(test)) == (100, 50, 30)
        images = torch.cat([training.pixels, validation.pixels, test.pixels]).flatten(1)
        assert len(images.unique(dim=0)) == len(images)
    with pytest.raises(DataError, match="4000 training images, not 50000"):
        cifar.load(shared / "data", cifar.EXPERIMENT.sizes)


@pytest.fixture
def tiny(monkeypatch):
    """Two points with two attacks of few steps, so that a whole cell takes a second or two."""
    looks = (
        Look("white-box", 20, ({"name": "fgsm", "epsilon": [0.05]},)),
        Look("scan", 10, ({"name": "pgd", "steps": 3, "epsilon": [0.05]},), layers="learnable"),
    )
    experiment = replace(
        moon.EXPERIMENT, sizes=Sizes(60, 20, 20, 10, 5), recipe={**moon.EXPERIMENT.recipe, "epochs": 1}
    )
    monkeypatch.setattr(type(experiment), "looks", lambda self: looks)
    return experiment


@pytest.mark.slow
def test_a_cell_holds_what_the_audits_found(tiny):
    parts, setting = tiny.load(None, tiny.sizes), tiny.setting("at-pgd-lr")
    found = cells.run(tiny, setting, 1, parts, cells.Machine("cpu", 1))
    assert len(found["log"]["epochs"]) == 1
    white, scan = found["looks"]
    assert (white["images"], scan["images"]) == (20, 10)
    assert white["clean"][:10] == scan["clean"]
    (verdict,) = white["verdicts"]
    assert (verdict["attack"], len(verdict["robust"])) == ("fgsm", 20)
    assert all(clean >= robust for clean, robust in zip(white["clean"], verdict["robust"], strict=True))
    assert set(page.profile_of(found)) == {"linear0", "linear1", "linear2", "linear3"}
    again = cells.run(tiny, setting, 1, parts, cells.Machine("cpu", 1))
    assert [look["verdicts"] for look in again["looks"]] == [look["verdicts"] for look in found["looks"]]
