"""The pages of the reproductions say what the cells hold and no more."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace

import pytest

from benchmarks.papers import __main__ as command
from benchmarks.papers import answers, cells, mnist, page
from benchmarks.papers.experiment import Sizes
from benchmarks.papers.results import Figure, PageError, Results, difference, fgsm, spread

IMAGES = 10
EXPERIMENT = replace(mnist.EXPERIMENT, sizes=Sizes(20, 10, IMAGES, IMAGES, IMAGES))


def bits(right: int, total: int = IMAGES) -> str:
    return "1" * right + "0" * (total - right)


def cell(setting: str, seed: int, *, robust: dict[tuple[str, float], int] | None = None, **values) -> cells.Cell:
    """Right images by attack and epsilon; 5 where nothing is said. Clean: 9."""
    robust = robust or {}
    looks = []
    for look in EXPERIMENT.looks():
        verdicts = [
            {
                "attack": attack["name"],
                "id": f"{attack['name']}@linf-{epsilon:g}",
                "epsilon": epsilon,
                "steps": 1,
                "robust": bits(robust.get((attack["name"], epsilon), 5)),
                "stages": [],
            }
            for attack in look.attacks
            for epsilon in attack["epsilon"]
        ]
        looks.append(
            {
                "name": look.name,
                "images": IMAGES,
                "clean": bits(robust.get(("clean", 0.0), 9)),
                "verdicts": verdicts,
                "findings": values.get("findings", []) if look.name == "scan" else [],
                "layers": [{"perturbation": "pgd@linf-0.3", "mvl": [], "means": {"conv0": 0.5, "conv1": None}}],
                "environment": {
                    "device": "cpu",
                    "threads": 1,
                    "platform": "Linux",
                    "python": "3",
                    "packages": {"torch": "2"},
                },
                "duration_s": 2.0,
            }
        )
    return {
        "cell_version": cells.CELL_VERSION,
        "experiment": "mnist",
        "setting": setting,
        "seed": seed,
        "sizes": asdict(EXPERIMENT.sizes),
        "recipe": {"epochs": 8, "precision": "float32"},
        "gammas": {},
        "processor": "a CPU",
        "log": {"ending": "finished", "detail": "", "kept_epoch": 3} | values.get("log", {}),
        "training_s": 10.0,
        "looks": looks,
    }


def failed(setting: str, seed: int) -> cells.Cell:
    whole = cell(setting, seed)
    for name in ("log", "training_s", "looks"):
        del whole[name]
    return {**whole, "failed": "the loss is nan at step 3"}


# Three seeds at 0.5: 3, 5 and 4 of 10 are right for plain training, 5, 6 and 5 with gamma 3 on layer 0.
SEEDS = [cell("at", seed, robust={("fgsm", 0.5): at}) for seed, at in enumerate((3, 5, 4))] + [
    cell("gamma3-layer0", seed, robust={("fgsm", 0.5): with_lr}) for seed, with_lr in enumerate((5, 6, 5))
]


def test_accuracies_and_scores_are_those_of_the_bits():
    results = Results(EXPERIMENT, SEEDS)
    assert results.accuracies("at", fgsm(0.5)) == [30, 50, 40]
    assert results.accuracies("at", fgsm(0.0)) == [90, 90, 90]
    # 90 + 4 * 50 + the last column
    assert results.scores("at") == [320, 340, 330]
    assert results.accuracies("at", Figure("autoattack", "autoattack", 0.3)) == [50, 50, 50]


def test_spread_and_interval_over_seeds():
    assert spread([30, 50, 40]) == (40, 10, 30, 50)
    assert spread([30]).std is None
    # Differences 2, 1, 1: mean 4/3, deviation 0.577, t of 2 degrees 4.303.
    found = difference([2, 1, 1])
    assert found.mean == pytest.approx(4 / 3)
    assert (found.low, found.high) == (pytest.approx(-0.101, abs=1e-3), pytest.approx(2.768, abs=1e-3))
    assert difference([2]) == (2, None, None, 1)


def test_the_published_gain_is_compared_seed_by_seed():
    results = Results(EXPERIMENT, SEEDS)
    last, score = answers.published_gains(results)
    assert (last.measure, last.published) == ("FGSM at 0.5", pytest.approx(21.79))
    assert (score.measure, score.published) == ("R&G", pytest.approx(43.74))
    assert last.ours.mean == pytest.approx(40 / 3)
    assert last.verdict == "within the noise of the seeds"
    assert last._replace(ours=difference([10, 11, 12])).verdict == "there is a gain"
    assert last._replace(ours=difference([-10, -11, -12])).verdict == "there is a loss"
    assert last._replace(ours=difference([10])).verdict == "one seed does not tell"


def cascade(with_lr: int, clean: int = 9) -> list[cells.Cell]:
    """Four seeds; plain training leaves 1 of 10 under the cascade at .3."""
    plain = [cell("at", seed, robust={("cascade", 0.3): 1}) for seed in range(4)]
    other = {("cascade", 0.3): with_lr, ("clean", 0.0): clean}
    return plain + [cell("gamma1-layer3", seed, robust=other) for seed in range(4)]


@pytest.mark.parametrize(
    ("with_lr", "clean", "holds"), [(5, 9, True), (5, 8, False), (1, 9, False), (0, 9, False)], ids=str
)
def test_a_gain_is_significant_upwards_and_keeps_the_clean_accuracy(with_lr, clean, holds):
    first, second = answers.gains(Results(EXPERIMENT, cascade(with_lr, clean)))
    assert (first.attack, second.attack) == ("cascade", "autoattack")
    assert first.pairs == (max(0, 4 * (with_lr - 1)), max(0, 4 * (1 - with_lr)), 40)
    assert first.holds is holds
    assert not second.holds
    # 16 gained and none lost: 2 / 2**16, doubled by Holm.
    assert with_lr != 5 or first.p_value == pytest.approx(4 / 2**16)


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        (Figure("white-box", "fgsm", 0.5), Figure("white-box", "pgd", 0.5)),
        (Figure("white-box", "pgd", 0.4), Figure("scan", "cascade", 0.4)),
    ],
    ids=["fgsm", "pgd"],
)
def test_a_gain_that_a_stronger_attack_does_not_see_is_masking(weaker, stronger):
    keys = [(figure.attack, figure.epsilon) for figure in (weaker, stronger)]

    def masked(left: int) -> list[answers.Mask]:
        plain = [cell("at", seed, robust=dict.fromkeys(keys, 0)) for seed in range(4)]
        right = dict(zip(keys, (6, left), strict=True))
        return answers.masks(
            Results(EXPERIMENT, plain + [cell("gamma3-layer0", seed, robust=right) for seed in range(4)])
        )

    (mask,) = masked(1)
    assert (mask.setting, mask.errors, mask.unseen) == ("gamma3-layer0", {}, [(weaker, stronger, 60.0, 10.0)])
    said = f"at {weaker.epsilon:g} it gains +60.0 points under {weaker.attack} and +10.0 under {stronger.attack}"
    assert answers._mask(mask) == f"gamma3-layer0: {said}."
    assert masked(3) == []


def test_a_gain_says_whether_the_seeds_bear_it_out():
    lines = answers.paragraphs(Results(EXPERIMENT, cascade(5)))
    (line,) = [line for line in lines if line.startswith("- gamma1-layer3 over at under cascade")]
    assert "+40.00 points (p < 0.001), clean +0.00; over seeds +40.00 (+40.00 to +40.00, 4 seeds): the seeds" in line
    assert answers._agreement(difference([8, 1])) == "the seeds do not bear it out"
    assert answers._agreement(difference([8])) == "the seeds do not bear it out"


def test_an_error_of_the_attack_health_is_a_sign_of_masking():
    finding = {
        "rule": "black-box-beats-white-box",
        "group": "attack-health",
        "level": "error",
        "subject": "pgd@linf-0.3",
        "message": "Of 4 | 3",
    }
    idle = {**finding, "rule": "never-right"}
    made = [cell("at", 0, findings=[finding, idle]), cell("at", 1, findings=[{**finding, "level": "warning"}])]
    results = Results(EXPERIMENT, made)
    (mask,) = answers.masks(results)
    assert (mask.errors, mask.seeds) == ({"black-box-beats-white-box": 1}, 2)
    text = page.document(results)
    assert "| at | error | black-box-beats-white-box | scan: pgd@linf-0.3 | 1 of 2 | Of 4 / 3 |" in text
    assert "- at: black-box-beats-white-box is an error in 1 of 2 seeds." in text
    assert "| 2 errors, 1 warning |" in text


def test_the_page_and_its_files(tmp_path):
    collapsed = cell("lad-lie", 0, log={"ending": "collapsed", "detail": "after epoch 4 the clean accuracy is 10 %"})
    page.write(EXPERIMENT, [*SEEDS, collapsed, failed("lad-strang", 0)], tmp_path)
    text = (tmp_path / "mnist.md").read_text()
    assert "| at | published (AT-APGD) | 99.36 | 98.54 | 97.67 | 96.97 | 71.72 | 33.73 | 497.99 |" in text
    assert "| 40.0 ± 10.0 (30.0 to 50.0) | 330.0 ± 10.0 (320.0 to 340.0) |" in text
    assert "Of 2 published differences, within the noise of the seeds: 2." in text
    assert "at alone spreads over 20.0 points." in text
    assert "- lad-lie, seed 0: after epoch 4 the clean accuracy is 10 %." in text
    assert "- lad-strang, seed 0: failed: the loss is nan at step 3." in text
    assert "| gamma3-layer0 | 0.50 ± 0.00 (0.50 to 0.50) |" in text
    rows = list(csv.DictReader((tmp_path / "mnist.csv").open()))
    assert {"setting": "at", "seed": "1", "figure": "fgsm 0.5", "percent": "50.0000"} in rows
    figures = json.loads((tmp_path / "mnist.json").read_text())["settings"]["at"]
    assert figures["figures"]["fgsm 0.5"] == [30, 50, 40]
    assert figures["r_and_g"] == [320, 340, 330]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sizes": {"training": 1}}, "other sizes or epochs"),
        ({"recipe": {"epochs": 1}}, "other sizes or epochs"),
        ({"cell_version": 0}, "another version"),
        ({"setting": "gamma9-layer9"}, "a setting that mnist does not have"),
    ],
    ids=lambda value: str(value),
)
def test_cells_that_do_not_belong_together_make_no_page(change, said):
    with pytest.raises(PageError, match=said):
        Results(EXPERIMENT, [*SEEDS, {**cell("at", 9), **change}])


def test_no_cell_makes_no_page():
    with pytest.raises(PageError, match="no cell"):
        Results(EXPERIMENT, [failed("at", 0)])


def test_the_command_makes_pages_of_what_is_there(tmp_path, capsys):
    folder = tmp_path / "mnist" / "cells"
    folder.mkdir(parents=True)
    for one in SEEDS:
        (folder / f"{one['setting']}-{one['seed']}.json").write_text(json.dumps(one))
    assert command.main(["mnist", "--only-page", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "mnist.md").read_text().startswith("# MNIST, model B")
    assert command.main(["moon", "--only-page", "--out", str(tmp_path)]) == 2
    assert "no cell of moon" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--settings", "at,gamma9"], "no setting is named gamma9"), (["--sizes", "1,2"], "--sizes takes training,")],
    ids=["setting", "sizes"],
)
def test_wrong_options_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit):
        command.main(["mnist", *arguments])
    assert said in capsys.readouterr().err
