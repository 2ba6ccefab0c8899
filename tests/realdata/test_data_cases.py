"""Folders of images on which labels or pixels were read wrongly, with the figures that are right."""

from __future__ import annotations

from pathlib import Path

import pytest

import lsa_audit
from lsa_audit.errors import UsageError

pytestmark = pytest.mark.realdata

QUICK = {"attacks": ["fgsm"], "epsilon": [0.004], "noises": [], "neurons": "none", "probes": [], "layers": "none"}
RESNET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "threads": 1}


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("needs shared/cases")
    return folder


def test_numeric_folders_are_asked_for_and_counted_by_number(cases):
    model, data = str(cases / "files/numeric-folders_model12.pt"), str(cases / "data/numeric-folders")
    with pytest.raises(UsageError, match=r"by number \(0, 1, 2, 3 \.\.\.\) or by text \(0, 1, 10, 11 \.\.\.\)"):
        lsa_audit.scan(model, data, threads=1, **QUICK)
    record = lsa_audit.scan(model, data, threads=1, class_order="numeric", **QUICK)
    assert (record.clean.count, record.clean.total) == (116, 120)
    assert record.data.class_order == "labels by number, as --class-order numeric says"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "right", "total"), [("nested-folders", 112, 120), ("exif-folders", 38, 40)])
def test_every_image_is_read_upright(cases, shared, name, right, total):
    model = str(shared / "models/cifar_resnet20_traced.pt")
    record = lsa_audit.scan(model, str(cases / "data" / name), **RESNET, **QUICK)
    assert (record.clean.count, record.clean.total) == (right, total)
    turned = [entry for entry in record.data.transforms if entry.startswith("EXIF rotation applied")]
    assert bool(turned) == (name == "exif-folders")
