from __future__ import annotations

import pytest

from lsa_audit.records import AuditRecord
from lsa_audit.reporting.sections import distances as section

from ..builders import attacked, build, distances, perturbation


def one(**changes: object) -> AuditRecord:
    return build(attacks=(attacked(perturbation("ddn", 0.5, norm="l2"), 9, distances=distances(**changes)),))


def test_one_row_for_all_epsilons_of_an_attack(samples: dict[str, AuditRecord]) -> None:
    table = section.table(samples["ensembles"])
    assert table is not None
    cells = ("fab-t", "linf", "183 of 183", "0.008", "0.0121", "0.0107–0.0133", "0.0194")  # noqa: RUF001
    assert [row.cells for row in table.rows] == [cells]


def test_norms_have_rows_of_their_own() -> None:
    entries = (perturbation("fab-t", 0.1), perturbation("fab-t", 0.5, norm="l2"), perturbation("fab-t", 1, norm="l2"))
    table = section.table(build(attacks=tuple(attacked(entry, 9, distances=distances()) for entry in entries)))
    assert table is not None
    assert [row.cells[1] for row in table.rows] == ["linf", "l2"]


@pytest.mark.parametrize(
    ("changes", "median", "interval"),
    [
        ({"median": None, "median_high": None}, "–", "above 0.0107"),  # noqa: RUF001
        ({"median": None, "median_low": None, "median_high": None}, "–", "–"),  # noqa: RUF001
    ],
)
def test_too_few_found_leave_a_dash(changes: dict[str, None], median: str, interval: str) -> None:
    table = section.table(one(found=80, upper_quartile=None, **changes))
    assert table is not None
    shown = table.pick("found", "median", "95 % interval", "upper quartile").rows[0].cells
    assert shown == ("80 of 183", median, interval, "–")  # noqa: RUF001


def test_a_line_for_each_attack() -> None:
    assert list(section.sentences(one(found=180))) == [
        "ddn l2: median distance 0.0121, 95 % interval 0.0107–0.0133, found for 180 of 183."  # noqa: RUF001
    ]


def test_other_attacks_measure_no_distance(samples: dict[str, AuditRecord]) -> None:
    assert section.table(samples["clean"]) is None
