from __future__ import annotations

from lsa_audit.records import AuditRecord
from lsa_audit.reporting.sections import overview


def values(record: AuditRecord) -> list[str]:
    return [card.value for card in overview.cards(record)]


def test_the_four_key_figures(samples: dict[str, AuditRecord]) -> None:
    cards = overview.cards(samples["clean"])
    assert [card.label for card in cards] == [
        "Clean accuracy",
        "Robust accuracy, pgd 8/255",
        "Most vulnerable layer",
        "Fragile neurons",
    ]
    assert values(samples["clean"]) == ["91.5 %", "0.5 %", "layer3.0.conv1", "3 of 16"]
    assert all("95 % Wilson" in card.note for card in cards[:2])
    assert "the strongest of 4 attacks" in cards[1].note


def test_what_was_not_measured_is_a_dash_with_a_reason(samples: dict[str, AuditRecord]) -> None:
    cards = overview.cards(samples["clean-only"])
    assert [card.value for card in cards] == ["91.5 %", "–", "–", "–"]  # noqa: RUF001
    assert all(card.note for card in cards)


def test_an_empty_list_names_the_highest_layer(samples: dict[str, AuditRecord]) -> None:
    card = overview.cards(samples["empty-mvl"])[2]
    assert card.value == "none"
    assert card.note.endswith("highest: layer3.0.conv1")


def test_an_inconclusive_figure_says_so_on_its_card_and_above(samples: dict[str, AuditRecord]) -> None:
    record = samples["findings"]
    assert record.inconclusive
    notice = overview.notices(record)[0]
    assert (notice.title, notice.tone) == ("The robustness figures are inconclusive, not robust", "bad")
    assert "37 of 120" in notice.text
    assert overview.cards(record)[1].note.startswith("inconclusive; ")


def test_a_clean_record_has_no_notice(samples: dict[str, AuditRecord]) -> None:
    assert overview.notices(samples["clean"]) == ()


def test_what_was_skipped_is_counted_above(samples: dict[str, AuditRecord]) -> None:
    assert [notice.title for notice in overview.notices(samples["skipped"])] == ["2 things could not be measured"]


def test_self_labels_are_explained_and_name_the_cards(samples: dict[str, AuditRecord]) -> None:
    record = samples["self-labels"]
    assert record.labels.reason in overview.notices(record)[0].text
    labels = [card.label for card in overview.cards(record)[:2]]
    assert labels == ["Clean prediction stability", "Prediction stability, pgd 8/255"]


def test_at_most_three_causes_stand_above_the_figures(samples: dict[str, AuditRecord]) -> None:
    record = samples["masked"]
    errors = [finding for finding in record.findings if finding.level == "error"]
    assert len(errors) == 28
    text = overview.notices(record)[0].text
    assert text.endswith("And 25 more in the findings.")
    assert "pgd 8/255: The logits of 1 perturbed images" in text
    assert "gradient held NaN" not in text


def test_the_strongest_attack_need_not_be_the_one_that_moved_the_layers(samples: dict[str, AuditRecord]) -> None:
    cards = overview.cards(samples["ensembles"])
    assert cards[1].label == "Robust accuracy, autoattack 8/255"
    assert "under pgd 8/255" in cards[2].note
