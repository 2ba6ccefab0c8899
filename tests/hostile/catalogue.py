"""The catalogue: who makes the file, how the command must end, and words that its one line must hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import archives, checkpoints, onnx_files, others, programs


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        make: writes it into an empty folder and returns its path.
        code: 0 read, 2 no usable model, 4 unsafe.
        words: that the line on stderr must hold.
        options: beside `layers FILE`.
    """

    make: Callable[[Path], Path]
    code: int
    words: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


WEIGHTS = ("--arch", "digits-cnn")
SIZE = ("--input-size", "1x4x4")


def weights(make: Callable[[Path], Path], code: int, *words: str) -> Case:
    return Case(make, code, words, WEIGHTS)


def program(make: Callable[[Path], Path], code: int, *words: str) -> Case:
    return Case(make, code, words, SIZE)


def other(make: Callable[[Path], Path], code: int, *words: str) -> Case:
    return Case(make, code, words)


ARCHIVES = {
    "archive: truncated": weights(archives.truncated, 4, "truncated"),
    "archive: comment": weights(archives.comment, 4, "malformed"),
    "archive: something before it": weights(archives.prefixed, 4, "malformed"),
    "archive: path traversal": weights(archives.named("archive/../../evil"), 4, "leads out"),
    "archive: absolute member": weights(archives.named("/etc/evil"), 4, "leads out"),
    "archive: terminal sequence in a name": weights(archives.named("archive/\x1b[2J"), 4, "leads out"),
    "archive: duplicate member": weights(archives.duplicate, 4, "two members"),
    "archive: duplicate but for case": weights(archives.same_but_for_case, 4, "two members"),
    "archive: encrypted": weights(archives.encrypted, 4, "encrypted"),
    "archive: symbolic link": weights(archives.symlink, 4, "symbolic link"),
    "archive: bomb": weights(archives.ratio_bomb, 4, "above the limits", "200 times"),
    "archive: claimed size": weights(archives.claimed_size(2**31), 4, "above the limits"),
    "archive: two descriptions": weights(archives.second_description, 4, "malformed"),
    "archive: overlapping members": weights(archives.swallowing, 4, "overlaps"),
    "archive: many members": weights(archives.many_members, 4, "100000 members"),
    "archive: empty": weights(archives.empty, 4, "no members"),
    "archive: no data.pkl": weights(archives.without_pickle, 2, "no data.pkl"),
}

CHECKPOINTS = {
    "checkpoint: os.system": weights(checkpoints.system_call, 4, "posix.system"),
    "checkpoint: os.system, legacy": weights(checkpoints.legacy_system_call, 4, "posix.system"),
    "checkpoint: os.system, plain pickle": weights(checkpoints.plain_system_call, 4, "posix.system"),
    "checkpoint: eval": weights(checkpoints.evaluation, 4, "eval"),
    "checkpoint: call by another function": weights(checkpoints.indirect_call, 4, "posix.system"),
    "checkpoint: terminal sequence in a name": weights(checkpoints.painted_name, 4, "evil.run"),
    "checkpoint: allocation": weights(checkpoints.allocation, 4, "bytearray"),
    "checkpoint: whole module": weights(checkpoints.whole_module, 4, "torch.nn.modules.linear.Linear"),
    "checkpoint: whole module, no --arch": other(checkpoints.whole_module, 4, "Linear", "--allow-code"),
    "checkpoint: no --arch": other(archives.honest, 2, "--arch"),
    "checkpoint: other network": weights(archives.honest, 2, "does not fit"),
    "checkpoint: stride 0": weights(checkpoints.stride_zero, 4, "40000000000 bytes"),
    "checkpoint: stride 0, legacy": weights(checkpoints.stride_zero_legacy, 4, "40000000000 bytes"),
    "checkpoint: huge storage": weights(checkpoints.huge_storage, 4, "data/0", "which has 24"),
    "checkpoint: huge storage, legacy": weights(checkpoints.huge_storage_legacy, 4, "more than the whole file"),
    "checkpoint: beyond its storage": weights(checkpoints.beyond_its_storage, 4, "beyond its storage"),
    "checkpoint: size in a list": weights(checkpoints.size_of_another_kind, 4, "no number"),
    "checkpoint: missing storage": weights(checkpoints.missing_storage, 4, "data/7"),
    "checkpoint: one storage in two sizes": weights(checkpoints.one_storage_twice, 4, "two ways"),
    "checkpoint: many expanded tensors": weights(checkpoints.many_expanded, 4, "above the limits"),
    "checkpoint: deep tuple": weights(checkpoints.deep_tuple, 2, "not a torch checkpoint"),
    "checkpoint: truncated legacy": weights(checkpoints.truncated_legacy, 2, "truncated"),
    "checkpoint: NaN": weights(others.weights(lambda state: state["linear.bias"].fill_(float("nan"))), 2, "NaN"),
    "checkpoint: good": weights(others.weights(lambda state: None), 0),
    "safetensors: truncated": weights(checkpoints.safetensors_truncated, 2, "truncated"),
    "safetensors: offsets beyond": weights(checkpoints.safetensors_beyond, 2, "truncated"),
    "safetensors: overlapping": weights(checkpoints.safetensors_overlap, 2, "not a safetensors file"),
    "safetensors: huge header": weights(checkpoints.safetensors_header, 2, "truncated"),
}

PROGRAMS = {
    "TorchScript: good": program(programs.traced, 0),
    "TorchScript: from_file": program(programs.from_file, 4, "aten::from_file", "--allow-code"),
    "TorchScript: save": program(programs.save, 4, "aten::save"),
    "TorchScript: save, spaced": program(programs.spaced_save, 4, "aten::save"),
    "TorchScript: foreign namespace": program(programs.foreign_namespace, 4, "evil::run"),
    "TorchScript: nonsense": program(programs.nonsense, 2, "model.pt"),
    "TorchScript: __setstate__": program(programs.restored, 4, "__setstate__"),
    "TorchScript: __setstate__ in capitals": program(programs.restored_in_capitals, 4, "capitals"),
    "TorchScript: native class": program(programs.native_class, 4, "torch.classes"),
    "TorchScript: LSTM with states of another batch": program(programs.false_states, 0),
    "TorchScript: weight norm of another size": program(programs.false_norm, 2, "weight norm"),
    "TorchScript: deep lists": program(programs.deep_lists, 4, "600000 lists"),
    "TorchScript: stride 0": program(programs.script_stride_zero, 4, "40000000000 bytes"),
    "TorchScript: missing storage": program(programs.script_without_storage, 4, "data/0"),
    "TorchScript: truncated": program(programs.script_truncated, 4, "truncated"),
    "TorchScript: lite without code": program(programs.lite_without_code, 2, "lite interpreter"),
    "TorchScript named .onnx": program(others.renamed(programs.traced, "model.onnx"), 0),
    "export: good": program(programs.exported, 0),
    "export: foreign operation": program(programs.foreign_operation, 4, "from_file"),
    "export: foreign function": program(programs.foreign_function, 4, "os.system"),
    "export: terminal sequence in a name": program(programs.painted_operation, 4, "evil"),
    "export: huge weight": program(programs.program_huge, 4, "model.pt2"),
    "export: stride 0": program(programs.program_stride_zero, 4, "model.pt2"),
    "export: cyclic": program(programs.program_cyclic, 2, "model.pt2"),
    "export: evaluated size": program(programs.evaluated_size, 0),
    "export: sample input with code": program(programs.sample_input, 0),
    "export: weight with code": program(programs.pickled_weight, 4, "system"),
    "export: compiled": program(programs.compiled, 4, "compiled"),
}

ONNX = {
    "onnx: good": other(onnx_files.sound, 0),
    "onnx: external data": other(onnx_files.external("inside.bin"), 0),
    "onnx: external data outside": other(onnx_files.external("../{name}"), 4, "external"),
    "onnx: external data, absolute": other(onnx_files.external("{outside}"), 4, "external"),
    "onnx: external data, symbolic link": other(onnx_files.external_symlink, 4, "external"),
    "onnx: external data in a pipe": other(onnx_files.external_pipe, 2, "pipe.bin is a pipe"),
    "onnx: external data too short": other(onnx_files.external("inside.bin", "8"), 4, "inside.bin"),
    "onnx: external data before its file": other(onnx_files.external("inside.bin", "-8"), 4, "-8", "external data"),
    "onnx: external data longer": other(onnx_files.external("inside.bin", "0", "99999999"), 4, "fc.weight", "99999999"),
    "onnx: external data missing": other(onnx_files.external("nothing.bin"), 2, "nothing.bin"),
    "onnx: huge weight": other(onnx_files.huge_dims, 4, "fc.weight"),
    "onnx: negative size": other(onnx_files.negative_dims, 4, "fc.weight"),
    "onnx: huge constant": other(onnx_files.huge_constant, 4, "large"),
    "onnx: huge expansion": other(onnx_files.huge_expansion, 4, "large"),
    "onnx: cyclic": other(onnx_files.cyclic, 2, "net.onnx"),
    "onnx: missing initialiser": other(onnx_files.missing_initializer, 2, "conv.weight"),
    "onnx: unknown domain": other(onnx_files.unknown_domain, 2, "org.example"),
    "onnx: dynamic rank": other(onnx_files.dynamic_rank, 2, "net.onnx"),
    "onnx: terminal sequence in a name": other(onnx_files.painted_operation, 2, "Evil"),
    "onnx: newer opset": other(onnx_files.newer_opset, 2, "999"),
    "onnx: endless function": other(onnx_files.endless_function, 4, "functions", "net.onnx"),
    "onnx: doubling functions": other(onnx_files.doubling_functions, 4, "nodes", "net.onnx"),
    "onnx: many empty nodes": other(onnx_files.empty_nodes, 4, "net.onnx"),
    "onnx: truncated": other(onnx_files.truncated, 2, "net.onnx"),
    "onnx: no graph": other(onnx_files.without_graph, 2, "net.onnx"),
    "onnx: no nodes": other(onnx_files.without_nodes, 2, "net.onnx"),
    "onnx: words as weights": other(onnx_files.text_weights, 2, "net.onnx"),
    "onnx: images of words": other(onnx_files.image_of_words, 2, "net.onnx"),
    "onnx: NaN": other(onnx_files.nan_weights, 2, "NaN"),
}

OTHERS = {
    "missing": other(others.missing, 2, "no file"),
    "folder": other(others.directory, 2, "is a folder"),
    "pipe": other(others.pipe, 2, "is a pipe"),
    "socket": other(others.unix_socket, 2, "is a socket"),
    "device": other(others.device, 2, "is a device"),
    "link to itself": other(others.link_to_itself, 2, "cannot be read"),
    "link to nothing": other(others.link_to_nothing, 2, "does not exist"),
    "empty": other(others.content(b""), 2, "is empty"),
    "web page": other(others.content(b"<!DOCTYPE html><html>404"), 2, "web page"),
    "git-lfs pointer": other(others.content(b"version https://git-lfs.github.com/spec/v1\n"), 2, "git lfs pull"),
    "text": other(others.content(b"hello"), 2, "is text"),
    "text named .onnx": other(others.content(b"hello", "model.onnx"), 2, "is text"),
    "gzip": other(others.packed, 2, "gzip"),
    "tar": other(others.tar, 2, "tar archive"),
    "HDF5": other(others.content(b"\x89HDF\r\n\x1a\n" + bytes(99)), 2, "HDF5"),
    "NumPy array": other(others.array, 2, "NumPy"),
    "noise": other(others.content(bytes(range(255, 0, -1)) * 9), 2, "not a model file"),
    "sidecar: good": Case(others.with_sidecar("mean: 0.5\nstd: 0.5\ninput_size: 1x4x4\n"), 0),
    "sidecar: bomb": program(others.with_sidecar(others.YAML_BOMB), 2, "model.yaml"),
    "sidecar: alias": program(others.with_sidecar("mean: &a [0.5]\nstd: *a\n"), 2, "model.yaml"),
    "sidecar: code": program(
        others.with_sidecar("mean: !!python/object/apply:os.mkdir ['{canary}']\n"), 2, "model.yaml"
    ),
    "sidecar: unknown key": program(others.with_sidecar("mein: 0.5\n"), 2, "model.yaml", "mein"),
    "sidecar: terminal sequence": program(others.with_sidecar('"\\e[2Jevil": 1\n'), 2, "model.yaml", "evil"),
    "sidecar: wrong value": program(others.with_sidecar("mean: [a, b]\n"), 2, "model.yaml", "mean"),
    "sidecar: no YAML": program(others.with_sidecar("{[\n"), 2, "model.yaml"),
    "sidecar: factory": program(others.with_sidecar("arch: evil.py:run\n"), 2, "model.yaml", "arch"),
}

CASES: dict[str, Case] = {**ARCHIVES, **CHECKPOINTS, **PROGRAMS, **ONNX, **OTHERS}
