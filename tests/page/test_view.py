from __future__ import annotations

from lsa_audit.page.view import Column, Row, Table


def test_pick_takes_columns_in_the_order_asked_for_and_keeps_tones() -> None:
    columns = (Column("a"), Column("b", "number"), Column("c"))
    table = Table("t", columns, (Row(("1", "2", "3"), "bad"),), note="n")
    picked = table.pick("c", "missing", "a")
    assert [column.title for column in picked.columns] == ["c", "a"]
    assert picked.rows == (Row(("3", "1"), "bad"),)
    assert picked.note == "n"
