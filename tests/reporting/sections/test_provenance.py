from __future__ import annotations

import io

from rich.console import Console

from lsa_audit.page.view import Facts, Table
from lsa_audit.records import AuditRecord, Conversion
from lsa_audit.reporting import terminal
from lsa_audit.reporting.sections import provenance


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


def converted(record: AuditRecord, **changes: object) -> AuditRecord:
    fields = {"file": "net.onnx", "sha256": "ab" * 32, "format": "ONNX, opset 17, written by pytorch 2.1", **changes}
    update = {"conversion": Conversion(**fields), "provenance": {"layout": "the sidecar net.yaml"}}
    return record.model_copy(update={"model": record.model.model_copy(update=update)})


def test_how_a_file_was_converted_is_told(samples: dict[str, AuditRecord]) -> None:
    shown = facts(
        converted(
            samples["clean"],
            reference="onnxruntime 1.31 on the CPU",
            parity=2.7e-7,
            parity_detail="3 images",
            static_batch=4,
            straight_through=tuple(f"q{number}" for number in range(8)),
            opaque=("ai.onnx::LSTM",),
        )
    )
    assert shown["Model/format"] == "ONNX, opset 17, written by pytorch 2.1"
    assert shown["Model/file sha256"] == "abababababab…"
    assert shown["Model/layout from"] == "the sidecar net.yaml"
    key = "Model/difference from the file's own program"
    assert shown[key] == "differs by 2.7e-07 of the largest logit from onnxruntime 1.31 on the CPU; 3 images"
    assert shown["Model/batch size of the file"].startswith("4;")
    assert shown["Model/gradient of the identity through"] == "q0, q1, q2, q3, q4, q5 and 2 more"
    assert shown["Model/run by the file's runtime because of"] == "ai.onnx::LSTM"


def test_a_conversion_that_was_not_compared_says_so_on_every_page(samples: dict[str, AuditRecord]) -> None:
    record = converted(samples["clean"], parity_detail="no onnxruntime is installed")
    said = "not compared with the file's own program (no onnxruntime is installed)"
    assert facts(record)["Model/difference from the file's own program"] == said
    console = Console(file=io.StringIO(), width=80)
    console.print(terminal.summary(record))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert said in " ".join(printed.split())
