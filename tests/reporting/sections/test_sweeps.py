from __future__ import annotations

from typing import Any

from lsa_audit.records import AuditRecord, Sweep
from lsa_audit.reporting.sections import sweeps

from ..builders import build


def sweep(**changes: Any) -> Sweep:
    usual = {"name": "pgd", "norm": "linf", "epsilons": (2 / 255, 8 / 255), "first_fooled": (10, 20), "unbroken": 70}
    return Sweep(**{**usual, "median": None, **changes})


def test_shares_of_the_images_that_are_right_before(samples: dict[str, AuditRecord]) -> None:
    (table,) = sweeps.tables(samples["ensembles"])
    assert [column.title for column in table.columns] == ["attack", "at 2/255", "at 8/255", "unbroken", "median"]
    # 93, 30 and 60 of 183.
    shares = ("50.8 43.6–58.0", "16.4 11.7–22.4", "32.8 26.4–39.9")  # noqa: RUF001
    assert table.rows[0].cells == ("pgd", *shares, "2/255")


def test_each_norm_has_a_table_and_other_epsilons_a_dash() -> None:
    other = sweep(name="fgsm", epsilons=(2 / 255, 4 / 255), median=4 / 255)
    first, second = sweeps.tables(build(sweeps=(sweep(), other, sweep(norm="l2"))))
    assert (first.caption, second.caption) == ("Breaking epsilons (linf)", "Breaking epsilons (l2)")
    assert [row.cells[2] == "–" for row in first.rows] == [True, False]  # noqa: RUF001
    assert [row.cells[3] == "–" for row in first.rows] == [False, True]  # noqa: RUF001
    assert [row.cells[-1] for row in first.rows] == ["above 8/255", "4/255"]


def test_nothing_right_before_leaves_dashes() -> None:
    (table,) = sweeps.tables(build(sweeps=(sweep(first_fooled=(0, 0), unbroken=0),)))
    assert set(table.rows[0].cells[1:]) == {"–"}  # noqa: RUF001
