"""The model card: read back by the library of the Hub, and honest about what its figures are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import EvalResult, model_index_to_eval_results
from markdown_it import MarkdownIt

from lsa_audit.records import AuditRecord
from lsa_audit.reporting import model_card
from lsa_audit.reporting.shown import Shown

from .builders import attacked, build, perturbation

PARSER = MarkdownIt("gfm-like", {"linkify": False})


def front_matter(record: AuditRecord) -> dict[str, Any]:
    return ModelCard(model_card.render(Shown(record))).data.to_dict()


def evaluations(record: AuditRecord) -> list[EvalResult]:
    _, found = model_index_to_eval_results(front_matter(record)["model-index"])
    return found


@pytest.mark.parametrize("name", ["clean", "findings", "skipped", "hostile", "self-labels", "two-norms"])
def test_gold(name: str, samples: dict[str, AuditRecord], check_gold: Callable[[str, str], None]) -> None:
    check_gold(f"{name}.model-card.md", model_card.render(Shown(samples[name])))


def test_every_card_can_be_read(any_record: AuditRecord) -> None:
    card = ModelCard(model_card.render(Shown(any_record)))
    has_index = any_record.labels.source == "dataset"
    assert bool(card.data.eval_results) is has_index
    assert card.text.lstrip().startswith("# Adversarial robustness of ")


def test_the_figures_are_those_of_the_record() -> None:
    found = [(result.metric_name, result.metric_value) for result in evaluations(build())]
    assert found == [
        ("Clean accuracy", 0.915),
        ("Robust accuracy, linf 2/255, pgd, the strongest of 2 attacks", 0.24),
        ("Robust accuracy, linf 8/255, pgd, the strongest of 2 attacks", 0.005),
    ]
    first = evaluations(build())[1]
    assert (first.task_type, first.metric_type, first.verified) == ("image-classification", "accuracy", False)
    assert (first.dataset_type, first.dataset_name) == ("cifar10_test_first1000", "cifar10_test_first1000")
    assert first.metric_args == {
        "norm": "linf",
        "epsilon": 2 / 255,
        "attack": "pgd",
        "steps": 20,
        "restarts": 2,
        "version": 1,
    }


def test_noise_is_no_attack(samples: dict[str, AuditRecord]) -> None:
    names = [result.metric_name for result in evaluations(samples["two-norms"])]
    assert names == ["Clean accuracy", "Robust accuracy, linf 8/255, pgd", "Robust accuracy, l2 0.5, pgd"]


def test_figures_of_failed_attacks_are_left_out(samples: dict[str, AuditRecord]) -> None:
    assert [result.metric_name for result in evaluations(samples["findings"])] == ["Clean accuracy"]
    assert "left out of the model index" in model_card.render(Shown(samples["findings"]))


def test_agreement_with_the_model_itself_is_no_accuracy(samples: dict[str, AuditRecord]) -> None:
    assert "model-index" not in front_matter(samples["self-labels"])
    assert "so there is no model index" in model_card.render(Shown(samples["self-labels"]))


def test_without_attacks_nothing_is_said_of_robustness(samples: dict[str, AuditRecord]) -> None:
    assert len(evaluations(samples["clean-only"])) == 1
    assert "the card says nothing of robustness" in model_card.render(Shown(samples["clean-only"]))


@pytest.mark.parametrize(
    ("name", "identifier"),
    [("CIFAR-10", "cifar-10"), ("My Photos!", "my-photos"), ("../x", "x"), ("\u540d", "data"), ("a/b", "a-b")],
)
def test_the_data_gets_an_identifier(name: str, identifier: str) -> None:
    (first, *_) = evaluations(build(data=build().data.model_copy(update={"name": name})))
    assert (first.dataset_type, first.dataset_name) == (identifier, name)


@pytest.mark.parametrize(
    "name", ["---", "a\n---\nb: c", "{a: b}", "'\"", "!!python/object:x", "&a *a", "- x", "yes", ""]
)
def test_a_name_stays_a_name(name: str) -> None:
    record = build(
        model=build().model.model_copy(update={"name": name}),
        attacks=(attacked(perturbation(name, 8 / 255), 3),),
        data=build().data.model_copy(update={"name": name, "selection": name * 200}),
    )
    found = front_matter(record)
    assert list(found) == ["tags", "model-index"]
    (entry,) = found["model-index"]
    assert entry["name"] == (name.replace("\n", "\\n") or "\N{EN DASH}")


def test_the_text_holds_no_markup_from_the_record(any_record: AuditRecord) -> None:
    tokens = PARSER.parse(ModelCard(model_card.render(Shown(any_record))).text)
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert "html_block" not in {token.type for token in tokens}
    assert kinds <= {"text", "softbreak", "strong_open", "strong_close"}
