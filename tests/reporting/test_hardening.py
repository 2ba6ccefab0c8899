from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from markdown_it import MarkdownIt

from lsa_audit.page.text import DASH, MINUS
from lsa_audit.page.view import Group, Section, Table
from lsa_audit.records import LabelInfo
from lsa_audit.records.hardening import Hardening
from lsa_audit.reporting import hardening as report
from lsa_audit.reporting.sections import hardening as sections
from lsa_audit.reporting.sections import hardening_layers, hardening_subject, hardening_training

from .builders import RESNET, build
from .conftest import HOSTILE
from .hardening_records import epoch, hardening, hostile, masked, shift, trained, untouched, without_checkpoint
from .test_html import CHROMIUM, Page, probe

RECORDS: dict[str, Callable[[], Hardening]] = {
    "helped": hardening,
    "masked": masked,
    "no-checkpoint": without_checkpoint,
    "not-helped": untouched,
    "hostile": lambda: hostile(HOSTILE),
}
PARSER = MarkdownIt("gfm-like", {"linkify": False})


@cache
def page_of(name: str) -> str:
    return report.to_html(RECORDS[name]())


def tables(section: Section) -> list[Table]:
    blocks = [block for part in section.blocks for block in (part.blocks if isinstance(part, Group) else (part,))]
    return [block for block in blocks if isinstance(block, Table)]


def words(section: Section) -> str:
    return " ".join(getattr(block, "text", "") for block in section.blocks)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (hardening, "The training helped. Every attack finds a significant gain: clean 91.5 % to 87.5 %"),
        (untouched, "The training did not help. No significant gain."),
        (
            masked,
            "The training did not help: gradient masking, not robustness. The gain under pgd",
        ),
        (without_checkpoint, "No model was written. No epoch kept the clean accuracy that was asked for."),
        (lambda: hardening(verdict="harmed"), "The training did harm."),
    ],
)
def test_the_verdict_is_the_first_thing_said_everywhere(make: Callable[[], Hardening], said: str) -> None:
    record = make()
    assert " ".join(report.summary(record)).startswith(said)
    assert said.split(". ")[0] in report.to_markdown(record).split("\n## ")[0]
    (first, *_) = report.document(record).notices
    assert f"{first.title}. {first.text}".startswith(said)


@pytest.mark.parametrize("name", [name for name in RECORDS if name != "hostile"])
def test_the_terminal_is_eighty_columns_wide(name: str) -> None:
    assert max(map(len, report.summary(RECORDS[name]()))) <= 80


def test_the_terminal_shows_every_attack_and_marks_those_that_decide() -> None:
    lines = report.summary(hardening())
    marked = [line.split()[1] for line in lines if line.startswith("* ") and "%" in line]
    assert marked == ["clean", "pgd@linf-4/255", "apgd-t@linf-4/255"]
    (clean,) = (line for line in lines if line.startswith("* clean"))
    assert clean.split("  ")[-1].strip() == "0.057"
    assert any(line.startswith("  fgsm@linf-4/255 ") for line in lines)
    assert lines[-1] == "Written: resnet20-hardened.pt."


def test_the_sections_come_in_order() -> None:
    keys = " ".join(section.key for section in report.document(untouched()).sections)
    assert keys == "changes attack-health score layers training recipe subject skipped conditions"
    assert "skipped" not in [section.key for section in report.document(hardening()).sections]


def test_every_change_has_a_row_and_its_part_in_the_verdict() -> None:
    (table,) = tables(sections.before_and_after(hardening()))
    rows = {row.cells[0]: row for row in table.rows}
    assert list(rows) == ["clean", "fgsm@linf-4/255", "pgd@linf-4/255", "apgd-t@linf-4/255"]
    drop = f"{MINUS}4.0 %"
    assert rows["clean"].cells[1:6] == ("91.5 %", "87.5 %", "3", "11", drop)
    assert rows["pgd@linf-4/255"].cells[6:] == ("23.1 % to 36.3 %", "< 0.001", sections.OWN)
    assert [row.cells[-1] for row in table.rows] == [sections.DECIDES, DASH, sections.OWN, sections.DECIDES]
    assert [row.tone for row in table.rows] == ["", "quiet", "", ""]


def test_training_without_attack_has_no_attack_of_its_own() -> None:
    (table,) = tables(sections.before_and_after(untouched()))
    assert [row.cells[-1] for row in table.rows] == [sections.DECIDES, DASH, *[sections.DECIDES] * 2]
    assert "the training's attack" not in words(sections.verdict(untouched()))
    assert "pgd@linf-4/255 is most like the training's attack" in words(sections.verdict(hardening()))


def test_the_verdict_names_what_decides() -> None:
    said = words(sections.verdict(hardening()))
    assert said.startswith("Decided by pgd@linf-4/255, apgd-t@linf-4/255 and the clean accuracy, on the test images.")
    assert "fgsm" not in said


def test_the_key_figures_are_those_that_decide() -> None:
    cards = report.document(hardening()).cards
    assert [(card.label, card.value, card.note) for card in cards] == [
        ("Accuracy, clean", "87.5 %", "91.5 % before; p 0.057"),
        ("Accuracy, pgd@linf-4/255", "31.0 %", "1.0 % before; p < 0.001"),
        ("Accuracy, apgd-t@linf-4/255", "27.0 %", "0.0 % before; p < 0.001"),
        ("Kept epoch", "10", "of 12 epochs"),
    ]


def test_attack_health_tells_before_and_after_and_what_is_new() -> None:
    section = sections.health(masked())
    before, after = tables(section)
    assert [row.cells[2] for row in before.rows] == ["fgsm finds what pgd misses."]
    assert [row.cells[::3] for row in after.rows] == [("error", "black-box-stronger"), ("warning", "monotone")]
    assert "Found only after: black-box-stronger, monotone." in words(section)
    assert "Found only before: few-steps." in words(section)


def test_findings_of_results_are_no_attack_health() -> None:
    finding = masked().before.findings[0].model_copy(update={"group": "result", "rule": "vulnerable-layers"})
    record = hardening(before=build(findings=(finding,)))
    assert tables(sections.health(record)) == []
    assert "vulnerable-layers" not in words(sections.health(record))


def test_a_score_comes_with_its_grid_and_the_most_that_it_can_be() -> None:
    (table,) = tables(sections.scores(hardening()))
    assert [column.title for column in table.columns] == ["epsilon", "0", "2/255", "4/255", "score"]
    assert [row.cells for row in table.rows] == [
        ("before", "91.5 %", "41.0 %", "20.5 %", "153.0"),
        ("after", "87.5 %", "66.0 %", "44.5 %", "198.0"),
    ]
    assert "at most 300." in table.note
    assert "depends on the grid" in words(sections.scores(hardening()))


def test_where_the_vulnerability_went() -> None:
    assert list(hardening_layers.sentences(hardening())) == [
        "The vulnerability moved: the highest relative error was at conv1 (1.31) before and is at linear (0.36) after.",
        "New among the most vulnerable layers: layer3.0.conv1, linear.",
        "No longer among them: conv1, layer1.0.conv1.",
        "The error rose in 1 of 7 layers: linear (0.28 to 0.36).",
    ]
    assert list(hardening_layers.sentences(untouched())) == [
        "The highest relative error stays at conv1: 1.31 before, 1.18 after.",
        "The list of the most vulnerable layers (MVL) is the same.",
        "The error rose in none of 7 layers.",
    ]


def test_of_many_layers_that_rose_the_largest_rises_are_named() -> None:
    rises = (0.1, 0.5, 0.3, 0.2, 0.4)
    layers = tuple(shift(f"layer{place}", 1.0, 1.0 + rise) for place, rise in enumerate(rises))
    *_, said = hardening_layers.sentences(hardening(layers=layers))
    assert said == (
        "The error rose in 5 of 5 layers: layer1 (1 to 1.5), layer4 (1 to 1.4), layer2 (1 to 1.3) and 2 more."
    )


def test_the_layer_table_marks_the_most_vulnerable_the_chosen_and_the_risen() -> None:
    (table,) = tables(hardening_layers.section(hardening()))
    rows = {row.cells[0]: row for row in table.rows}
    assert tuple(rows) == RESNET
    assert rows["conv1"].cells[1:] == ("● 1.31", "0.11", f"{MINUS}1.2", "yes")
    assert rows["linear"].cells[1:] == ("0.28", "● 0.36", "0.08", DASH)
    assert [row.tone for row in table.rows] == [""] * 6 + ["warning"]


def test_of_very_many_layers_the_table_keeps_the_highest_in_depth_order() -> None:
    layers = tuple(shift(f"layer{place}", 0.001 * place, None) for place in range(250))
    (table,) = tables(hardening_layers.section(hardening(layers=layers)))
    assert [row.cells[0] for row in table.rows] == [f"layer{place}" for place in range(50, 250)]
    assert "50 layers with lower errors" in table.note


def test_without_layers_it_is_said() -> None:
    record = hardening(layers=())
    assert hardening_layers.NOTHING in words(hardening_layers.section(record))
    assert tables(hardening_layers.section(record)) == []


def test_without_a_file_what_there_is_is_shown() -> None:
    record = without_checkpoint()
    shown = report.to_markdown(record)
    assert shown.count(sections.NOT_JUDGED) == 3
    assert "The layers were measured before the training only" in shown
    assert "- name: none was written" in shown
    assert f"| conv1 | ● 1.31 | {DASH} | {DASH} | yes |" in shown
    assert "| clean | 0 | 91.5 % |" in shown
    assert "R\\&G" not in shown
    assert "> **The training collapsed and was stopped.**\n> Chance accuracy in epoch 2." in shown
    assert "| Clean accuracy before | 91.5 % |" in shown
    assert "| Kept epoch | none | of 2 epochs |" in shown


def test_every_epoch_is_in_the_table_and_the_kept_one_marked() -> None:
    (table,) = tables(hardening_training.section(hardening()))
    assert [row.cells[1] for row in table.rows if row.cells[1] != DASH] == ["best so far", "best so far", "kept"]
    assert [row.cells[0] for row in table.rows if row.tone == "good"] == ["10"]
    assert table.rows[0].cells[2:9] == ("2.3", "0.3", "22.5 %", "60.0 %", "4.0 %", "0.00929", "2/255")


def test_of_very_many_epochs_the_last_are_shown() -> None:
    log = trained(epochs=tuple(epoch(number) for number in range(1, 211)))
    (table,) = tables(hardening_training.section(hardening(log=log)))
    assert [table.rows[0].cells[0], table.rows[-1].cells[0]] == ["11", "210"]
    assert "The first 10 epochs: see hardening.json." in table.note


def test_a_training_that_was_taken_up_again_says_so() -> None:
    assert "- training taken up again: 2 times" in report.to_markdown(hardening(log=trained(resumed=2)))
    assert "taken up again" not in report.to_markdown(hardening())


def test_the_recipe_is_shown_in_words() -> None:
    facts = dict(hardening_subject.recipe(hardening()).blocks[-1].items)
    assert facts["epsilon"] == "4/255"
    assert facts["step_size"] == "not set"
    assert facts["gamma"] == "conv1 0.5, layer1.0.conv1 0.25"
    assert facts["augment"] == "flip, crop"
    assert facts["deterministic"] == "yes"
    assert facts["lr"] == "0.01"
    (chosen,) = tables(hardening_subject.recipe(hardening()))
    assert [row.cells for row in chosen.rows] == [("conv1", "0.5", "1.29"), ("layer1.0.conv1", "0.25", "0.9")]
    assert "No layer was chosen" in words(hardening_subject.recipe(untouched()))


def test_the_three_sets_of_images_are_told_apart() -> None:
    (table,) = tables(hardening_subject.subject(hardening()))
    assert [row.cells[:3] for row in table.rows] == [
        ("training", "3,600 of 4,000", "cifar10_train"),
        ("validation", "400 of 4,000", "cifar10_train"),
        ("test", "200 of 4,000", "cifar10_test"),
    ]
    assert [row.cells[-1][0] for row in table.rows] == ["1", "2", "3"]


def test_figures_against_own_predictions_are_not_called_accuracy() -> None:
    own = LabelInfo(source="self", reason="the data has 10 classes, the model 1,000")
    record = hardening(labels=own, before=build(labels=own), after=build(labels=own))
    shown = report.to_markdown(record)
    assert "prediction stability, not accuracy" in shown
    assert "| Prediction stability, clean | 87.5 % |" in shown
    assert "**Prediction stability before and after**" in shown
    assert "prediction stability (%)" in report.to_html(record)
    assert "not accuracy" not in report.to_markdown(hardening())


@pytest.mark.slow
def test_json_holds_all_of_it_and_the_same_record_gives_the_same_page() -> None:
    assert Hardening.model_validate_json(report.to_json(hardening())) == hardening()
    assert report.to_html(hardening()) == page_of("helped")


@pytest.mark.slow_except("helped", "no-checkpoint")
@pytest.mark.parametrize("name", RECORDS)
def test_the_page_is_well_formed(name: str) -> None:
    page = Page(page_of(name))
    assert (page.open, page.faults) == ([], [])
    ids = [value for _, attribute, value in page.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))
    anchors = {value.removeprefix("#") for _, attribute, value in page.attributes if attribute == "href"}
    assert anchors <= set(ids)


def test_names_cannot_break_out() -> None:
    record = hostile(HOSTILE)
    content = page_of("hostile")
    assert "<script" not in content
    assert HOSTILE not in content
    tokens = PARSER.parse(report.to_markdown(record))
    assert "html_block" not in {token.type for token in tokens}
    inline = {child.type for token in tokens for child in token.children or ()}
    assert inline <= {"text", "softbreak", "strong_open", "strong_close"}
    for shown in (content, report.to_markdown(record), "\n".join(report.summary(record))):
        assert "\x1b" not in shown
        assert "\u202e" not in shown


@pytest.mark.parametrize("name", ["helped", "masked", "no-checkpoint", "hostile"])
def test_gold(name: str, check_gold: Callable[[str, str], None]) -> None:
    record = RECORDS[name]()
    check_gold(f"hardening-{name}.md", report.to_markdown(record))
    check_gold(f"hardening-{name}.txt", "\n".join((*report.summary(record), "")))


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (on the path, or LSA_AUDIT_CHROMIUM)")
@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["helped", "hostile"])
def test_nothing_is_wider_than_the_screen(name: str, width: int, tmp_path) -> None:
    seen = probe(page_of(name), width, tmp_path)
    assert int(seen["inner"]) == width
    assert int(seen["scroll"]) <= width
    assert seen["wide"] == ""
