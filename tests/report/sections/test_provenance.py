from __future__ import annotations

from lsa_audit.records import AuditRecord
from lsa_audit.report.sections import provenance
from lsa_audit.report.view import Facts, Table


def facts(record: AuditRecord) -> dict[str, str]:
    blocks = (*provenance.subject(record).blocks, *provenance.conditions(record).blocks)
    tables = [block for block in blocks if isinstance(block, Facts)]
    return {f"{table.caption}/{label}": value for table in tables for label, value in table.items}


def test_model_data_and_labels_are_told(samples: dict[str, AuditRecord]) -> None:
    shown = facts(samples["clean"])
    assert shown["Model/weights sha256"] == "3f2a9c51d0e8…"
    assert shown["Model/normalisation mean"] == "0.485, 0.456, 0.406"
    assert shown["Model/normalisation from"] == "the command line (--mean, --std)"
    assert shown["Data/taken for"] == "uint8 NHWC, 1000 x 32 x 32 x 3"
    assert shown["Data/images"] == "200 of 1,000"
    assert shown["Data/labels"] == "the dataset's own"
    assert facts(samples["self-labels"])["Data/labels"] == "the model's own clean predictions"


def test_the_walk_is_told(samples: dict[str, AuditRecord]) -> None:
    key = "Walk through the model/an image's logits are free of its batch mates"
    assert facts(samples["clean"])[key] == "yes"
    shown = facts(samples["skipped"])
    assert shown[key] == "not known"
    assert shown["Walk through the model/walker"].startswith("module hooks")


def test_settings_are_flattened_and_none_is_not_set(samples: dict[str, AuditRecord]) -> None:
    record = samples["clean"].model_copy(update={"settings": {"a": {"b": [1, 0.5, None], "c": {}}, "d": True, "e": []}})
    shown = {key: value for key, value in facts(record).items() if key.startswith("Effective")}
    assert shown == {
        "Effective settings/a.b": "1, 0.5, not set",
        "Effective settings/a.c": "{}",
        "Effective settings/d": "yes",
        "Effective settings/e": "none",
    }
    assert not any(key.startswith("Effective") for key in facts(samples["nothing-known"]))


def test_timing_and_environment(samples: dict[str, AuditRecord]) -> None:
    shown = facts(samples["clean"])
    assert shown["Timing/took"] == "3 min 12 s"
    assert shown["Timing/attack"] == "2 min 30 s"
    assert shown["Environment/packages"] == "torch 2.10.0, timm 1.0.20"


def test_what_was_skipped_has_its_reason(samples: dict[str, AuditRecord]) -> None:
    (table,) = provenance.missing(samples["skipped"]).blocks
    assert isinstance(table, Table)
    assert table.rows[0].cells == ("layer stem.add", "No dimension is the batch.", "batch-dimension-unknown")
    assert len(table.rows) == 2
    assert "Everything" in str(provenance.missing(samples["clean"]))
