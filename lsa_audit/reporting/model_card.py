"""The run as a model card of the Hugging Face Hub: figures as YAML for machines, then what they rest on for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from ..page import text
from ..page.view import Block, Document, Paragraph, Section
from ..records import AttackResult, AuditRecord
from ..units import format_epsilon
from . import selection
from .markdown import page
from .sections import accuracy, findings, overview, perturbations
from .shown import Shown

UNBROKEN = 1_000_000


def render(shown: Shown) -> str:
    """Front matter with a model index, then the card in Markdown."""
    front = yaml.safe_dump(_front_matter(shown.record), sort_keys=False, allow_unicode=True, width=UNBROKEN)
    return f"---\n{front}---\n\n{page(_card(shown.record))}"


def _front_matter(record: AuditRecord) -> dict[str, Any]:
    tags = {"tags": ["image-classification", "adversarial-robustness", "lsa-audit"]}
    if record.labels.source != "dataset":
        # The index knows accuracies alone, and agreement with the model's own answers is none.
        return tags
    result = {
        "task": {"type": "image-classification", "name": "Image Classification"},
        "dataset": {
            "type": _identifier(record.data.name),
            "name": text.name(record.data.name),
            "args": {"selection": text.sentence(record.data.selection), "sha256": text.name(record.data.sha256)},
        },
        "metrics": list(_metrics(record)),
    }
    return {**tags, "model-index": [{"name": text.name(record.model.name), "results": [result]}]}


def _identifier(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:80] or "data"


def _metrics(record: AuditRecord) -> Iterator[dict[str, Any]]:
    """Clean accuracy, then that under the strongest attack in each ball; nothing that the attacks cannot vouch for."""
    yield {"type": "accuracy", "value": record.clean.value, "name": "Clean accuracy", "verified": False}
    for results in () if record.inconclusive else _balls(record).values():
        strongest = min(results, key=lambda result: result.robust_accuracy.value)
        perturbation = strongest.perturbation
        yield {
            "type": "accuracy",
            "value": strongest.robust_accuracy.value,
            "name": f"Robust accuracy, {_ball(strongest)}, {_attack(strongest, len(results))}",
            "verified": False,
            "args": {
                "norm": perturbation.norm,
                "epsilon": perturbation.epsilon,
                "attack": selection.attack_name(perturbation),
                "steps": perturbation.steps,
                "restarts": perturbation.restarts,
                "version": perturbation.version,
            },
        }


def _balls(record: AuditRecord) -> dict[tuple[str, float], list[AttackResult]]:
    """The attacks in each ball, in the record's order."""
    found: dict[tuple[str, float], list[AttackResult]] = {}
    for result in record.attacks:
        if result.perturbation.kind == "attack":
            found.setdefault((result.perturbation.norm, result.perturbation.epsilon), []).append(result)
    return found


def _ball(result: AttackResult) -> str:
    return f"{result.perturbation.norm} {format_epsilon(result.perturbation.epsilon)}"


def _attack(result: AttackResult, tried: int) -> str:
    name = selection.attack_name(result.perturbation)
    return name if tried == 1 else f"{name}, the strongest of {tried} attacks"


def _card(record: AuditRecord) -> Document:
    return Document(
        title=f"Adversarial robustness of {overview.title(record)}",
        subtitle=overview.subtitle(record),
        notices=overview.notices(record),
        cards=overview.cards(record),
        lead=(Section("threat-model", "Threat model", tuple(map(Paragraph, _threat_model(record)))),),
        sections=(_attacks(record), findings.section(record), _limits(record)),
        footer="Made by lsa-audit from the record of one audit. Nobody else has verified the figures.",
    )


def _threat_model(record: AuditRecord) -> Iterator[str]:
    balls = [_ball(results[0]) for results in _balls(record).values()]
    if not balls:
        yield "No attack was run: the card says nothing of robustness against an adversary."
        return
    yield (
        f"An attacker changes the pixels of an image, which lie in [0, 1], within a ball: {', '.join(balls)}. "
        "The attacker is taken to know the model, its weights and the label, and to aim at any wrong answer."
    )
    yield (
        "An image counts as right under an attack only if the model is right on it before, and on everything that the "
        f"attack tried. Right means: {_right(record)}."
    )


def _right(record: AuditRecord) -> str:
    if record.labels.source == "dataset":
        return "the label that the data gives"
    return f"the model's own answer on the unperturbed image, because {text.sentence(record.labels.reason)}"


def _attacks(record: AuditRecord) -> Section:
    blocks: tuple[Block, ...] = (Paragraph("No attack and no noise was run."),)
    if record.attacks:
        blocks = (accuracy.accuracy_table(record), perturbations.table(record))
    return Section("attacks", "Attacks", blocks)


def _limits(record: AuditRecord) -> Section:
    return Section("limits", "Limits", tuple(map(Paragraph, _limit_sentences(record))))


def _limit_sentences(record: AuditRecord) -> Iterator[str]:
    yield (
        "A robust accuracy found by attacks is an upper bound: a stronger attack can only lower it. Where several "
        "attacks share a ball, the figure is that of the strongest one alone."
    )
    if record.inconclusive:
        yield "The attacks did not work as they should, so the figures of robustness are left out of the model index."
    if record.labels.source != "dataset":
        yield "The figures are prediction stability and not accuracy, so there is no model index."
    yield (
        f"The figures are of {text.quantity(record.data.samples, 'image')} ({text.sentence(record.data.selection)}). "
        "They say nothing of other data, other changes of the images, or larger balls."
    )
    missing = len(selection.skipped(record))
    if missing:
        yield f"{text.quantity(missing, 'thing')} could not be measured; the record tells which and why."
