"""Run folders that come from strangers: what is read, what is refused, and what of a record may load a model."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

from lsa_audit.errors import AuditError, DataError, UnsafeError, UsageError
from lsa_audit.runs.reading import Evidence, read_evidence, read_record_of, read_run, stored, to_reload
from lsa_audit.settings.limits import Limits

from ..reporting.builders import build


def npy(array, **changes) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), **changes)
    return buffer.getvalue()


def npz(path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def run(tmp_path):
    (tmp_path / "record.json").write_text(build().model_dump_json())
    np.savez(tmp_path / "evidence.npz", labels=np.arange(3))
    return tmp_path


def test_arrays_come_back_as_they_were_written(tmp_path):
    arrays = {
        "image_ids": np.asarray(["a", "b/c.png", "\u00e9"]),
        "right/pgd@linf-8/255": np.asarray([True, False]),
        "adversarial/layer-pgd[conv1]@l2-0.5": np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2),
        "columns": np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
        "empty": np.zeros((0,)),
        "single": np.float64(3.5),
        "all alike": np.ones(500_000, dtype=bool),
    }
    np.savez_compressed(tmp_path / "evidence.npz", **arrays)
    found = Evidence(tmp_path / "evidence.npz")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    found["columns"][0, 0] = 9
    assert found["columns"][0, 0] == 0
    with pytest.raises(KeyError):
        found["nothing"]


def test_a_run_is_read(run):
    record, evidence = read_run(run)
    assert record == build()
    assert evidence["labels"].tolist() == [0, 1, 2]


def test_a_record_is_read_where_it_was_kept_alone(run):
    assert read_evidence(run)["labels"].tolist() == [0, 1, 2]
    (run / "evidence.npz").unlink()
    for path in (run, run / "record.json"):
        assert read_record_of(path) == build()
        assert read_evidence(path) is None
        with pytest.raises(UsageError, match=r"holds no evidence\.npz"):
            read_run(path)


def header(shape: str, dtype: str = "'<f8'") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


class Evil:
    def __reduce__(self):
        return os.system, ("echo ran",)


MALFORMED: dict[str, dict[str, bytes]] = {
    "python objects": {"x.npy": npy(np.asarray([{}], dtype=object), allow_pickle=True)},
    "a pickle": {"x.npy": pickle.dumps(Evil())},
    "fields": {"x.npy": npy(np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))},
    "dates": {"x.npy": npy(np.zeros(2, dtype="datetime64[s]"))},
    "more claimed than there is": {"x.npy": header("(1000000000000,)")},
    "less claimed than there is": {"x.npy": header("(1,)") + bytes(16)},
    "negative sizes": {"x.npy": header("(-1, -2)") + bytes(16)},
    "true as a size": {"x.npy": header("(1.0,)") + bytes(8)},
    "empty text": {"x.npy": header("(10**9,)".replace("10**9", "1000000000"), "'<U0'")},
    "nested header": {"x.npy": header("(" * 3000 + ")" * 3000) + bytes(8)},
    "signs": {"x.npy": header(f"({'-' * 9000}1,)") + bytes(8)},
    "no header": {"x.npy": b"\x93NUMPY\x01\x00"},
    "later version": {"x.npy": npy(np.zeros(2)).replace(b"NUMPY\x01", b"NUMPY\x03")},
    "nothing": {"x.npy": b""},
    "not an array": {"x.npy": b"words"},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_array_is_refused(case, tmp_path):
    evidence = Evidence(npz(tmp_path / "evidence.npz", MALFORMED[case]))
    with pytest.raises(UnsafeError, match=r"evidence\.npz: x\.npy") as raised:
        evidence["x"]
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("cut", [0, 1, 30, -1, -30])
def test_a_truncated_archive_is_refused(cut, run):
    content = (run / "evidence.npz").read_bytes()
    (run / "evidence.npz").write_bytes(content[:cut])
    with pytest.raises(UnsafeError, match="truncated or malformed"):
        read_run(run)


def test_a_flipped_byte_is_refused(run):
    content = bytearray((run / "evidence.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (run / "evidence.npz").write_bytes(content)
    with pytest.raises(UnsafeError, match="truncated or malformed"):
        Evidence(run / "evidence.npz")["labels"]


def test_members_that_no_scan_writes_are_refused(tmp_path):
    path = tmp_path / "evidence.npz"
    with pytest.raises(UnsafeError, match="not what a scan writes"):
        Evidence(npz(path, {"x.npy": npy(np.zeros(3))}, zipfile.ZIP_BZIP2))
    with pytest.raises(UnsafeError, match="not what a scan writes"):
        Evidence(npz(path, {"x.py": b"print()"}))
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("x.npy", npy(np.zeros(3)))
        archive.writestr("x.npy", npy(np.ones(3)))
    with pytest.raises(UnsafeError, match="same name"):
        Evidence(path)


@pytest.mark.parametrize(
    "limits", [{"total_bytes": 100}, {"member_bytes": 1000}, {"compression_ratio": 2.0}, {"members": 1}]
)
def test_limits_are_kept(limits, tmp_path):
    path = npz(tmp_path / "evidence.npz", {"x.npy": npy(np.zeros(1000)), "y.npy": npy(np.zeros(10))})
    assert len(Evidence(path)) == 2
    with pytest.raises(UnsafeError, match="above the limits"):
        Evidence(path, Limits(**limits))


def test_a_member_that_unpacks_to_more_than_it_states_is_refused(tmp_path):
    path = npz(tmp_path / "evidence.npz", {"x.npy": npy(np.zeros(1000))})
    content = path.read_bytes()
    path.write_bytes(content.replace((8128).to_bytes(4, "little"), (136).to_bytes(4, "little")))
    with pytest.raises(UnsafeError, match="truncated or malformed"):
        Evidence(path)["x"]


def test_what_is_no_run_is_named(tmp_path, run):
    (run / "record.json").rename(run / "kept.json")
    with pytest.raises(UsageError, match=r"holds no record\.json"):
        read_run(run)
    with pytest.raises(UsageError, match=r"holds no record\.json"):
        read_run(run / "kept.json")
    os.mkfifo(run / "record.json")
    with pytest.raises(UsageError, match=r"holds no record\.json"):
        read_run(run)
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}', "[" * 100_000, "\ud800".join("ab")])
def test_a_malformed_record_is_refused(content, run):
    (run / "record.json").write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(AuditError, match="record") as raised:
        read_run(run)
    assert raised.value.exit_code == 2


def test_an_endless_record_is_refused(run, monkeypatch):
    monkeypatch.setattr("lsa_audit.runs.reading.RECORD_BYTES", 100)
    with pytest.raises(UnsafeError, match="larger than 100 bytes"):
        read_run(run)


def test_stored_arrays_must_have_the_type_and_shape_of_a_scans():
    evidence = {"right": np.zeros(3, dtype=bool)}
    assert stored(evidence, "right", "b", (3,)) is evidence["right"]
    for name, kinds, shape in (("left", "b", (3,)), ("right", "iu", (3,)), ("right", "b", (4,))):
        with pytest.raises(DataError, match=r"evidence\.npz"):
            stored(evidence, name, kinds, shape)


def made_of(subject="digits-cnn", **settings):
    return build().model_copy(update={"subject": subject, "settings": settings})


def test_settings_that_run_nothing_come_back():
    subject, settings = to_reload(made_of(data="digits", samples=9, threads=8), None, {})
    assert subject == "digits-cnn"
    assert settings == {"data": "digits", "samples": 9, "threads": None, "allow_code": False, "trusted": []}


CODE = {
    "a factory": (made_of("net.py:make"), {}, "--model"),
    "a module's factory": (made_of("package.net:make"), {}, "--model"),
    "somebody's repository": (made_of("hf_hub:somebody/net"), {}, "--model"),
    "allow_code": (made_of("net.pt", allow_code=True), {}, "--allow-code"),
    "trusted": (made_of("net.pt", trusted=["0" * 64]), {}, "--allow-code"),
    "permission without a name": (made_of("net.pt"), {"allow_code": True}, "--model"),
    "arch": (made_of("weights.pt", arch="net.py:make"), {}, "--arch"),
    "arch of another type": (made_of("weights.pt", arch=["net.py:make"]), {}, "--arch"),
    "arguments": (made_of("resnet18", model_args={"cache_dir": "/"}), {}, "--model-arg"),
}


@pytest.mark.parametrize("case", CODE)
def test_a_record_alone_runs_no_code(case):
    record, given, hint = CODE[case]
    with pytest.raises(UnsafeError, match=hint):
        to_reload(record, None, given)


def test_what_the_command_line_says_itself_counts():
    record = made_of("net.py:make", allow_code=True, trusted=["0" * 64])
    subject, settings = to_reload(record, "my.py:make", {"allow_code": True})
    assert subject == "my.py:make"
    assert (settings["allow_code"], settings["trusted"]) == (False, [])
    record = made_of("weights.pt", arch="net.py:make", model_args={"width": 3})
    for given in ({}, {"arch": "my.py:make"}, {"model_args": {"width": 3}}):
        with pytest.raises(UnsafeError):
            to_reload(record, "weights.pt", given)
    assert to_reload(record, "weights.pt", {"arch": "my.py:make", "model_args": {"width": 3}})[0] == "weights.pt"


def test_a_record_raises_no_limits_and_names_no_place_to_download_to():
    record = made_of(limits={"total_bytes": 2**60}, data_root="/etc", offline=False)
    _, settings = to_reload(record, None, {})
    assert "limits" not in settings
    assert settings["offline"] is True
    assert to_reload(record, "digits-cnn", {})[1]["limits"] == {"total_bytes": 2**60}


def test_a_module_in_memory_must_be_named():
    with pytest.raises(UsageError, match="--model"):
        to_reload(made_of(None), None, {})
    assert to_reload(made_of(None), "digits-cnn", {})[0] == "digits-cnn"


def test_importing_leaves_torch_out():
    code = "import sys, lsa_audit.runs.reading; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
