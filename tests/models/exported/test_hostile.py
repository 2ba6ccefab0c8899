"""Hostile and broken .pt2 files end in the stated error, and nothing of them runs."""

from __future__ import annotations

import io
import json
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lsa_audit.errors import AuditError, ModelError, UnsafeError
from lsa_audit.models import ModelRequest
from lsa_audit.models.archives import sha256
from lsa_audit.models.exported import load

from .files import Recurrent, Residual, edited, images_of, randomised, rewritten, save

WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Bomb:
    """Unpickling it runs a command that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return save(randomised(Residual()), tmp_path_factory.mktemp("exported") / "model.pt2")


@pytest.fixture
def mark(tmp_path) -> Path:
    return tmp_path / "was-run"


def refused(path: Path, **options: Any) -> AuditError:
    with pytest.raises(AuditError) as raised:
        load(ModelRequest(str(path), **options))
    message = str(raised.value)
    assert path.name in message
    assert "\n" not in message
    assert len(message) < 400
    return raised.value


def nodes_of(described: dict[str, Any]) -> list[dict[str, Any]]:
    return described["graph_module"]["graph"]["nodes"]


def node_of(described: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in nodes_of(described) if f".{name}." in node["target"])


def pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.slow_for("math.sqrt.__call__", "torch.ops.aten.from_file.default")
@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.mine.relu.default",
        "torch.ops.aten.relu",
        "torch.ops.load_library",
        "torch.load",
        "torch.ops.higher_order_.cond",
        "_operator.attrgetter",
        "math.sqrt.__call__",
        "builtins.eval",
        "os.system",
        "#extension",
    ],
)
def test_an_operation_outside_of_the_list_is_refused_by_name(target, plain):
    def edit(described):
        node_of(described, "relu_")["target"] = target

    error = refused(edited(plain, edit))
    assert isinstance(error, UnsafeError)
    assert repr(target) in error.what


def test_a_listed_file_may_call_other_operations(plain):
    def edit(described):
        node_of(described, "relu_")["target"] = "torch.ops.aten.special_bessel_j0.default"

    path = edited(plain, edit)
    assert isinstance(refused(path), UnsafeError)
    for options in ({"allow_code": True}, {"trusted": frozenset({sha256(path)})}):
        assert load(ModelRequest(str(path), **options)).classes == 5
    assert isinstance(refused(path, trusted=frozenset({"0" * 64})), UnsafeError)


def test_expressions_guards_and_samples_are_never_evaluated(plain, mark):
    code = f"__import__('os').system('touch {mark}')"

    def edit(described):
        graph = described["graph_module"]["graph"]
        described["guards_code"] = [code]
        described["range_constraints"] = {code: {"min_val": 0, "max_val": None}}
        for value in graph["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code
        described["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = code
        for node in nodes_of(described):
            node["metadata"] |= {"source_fn_stack": code, "torch_fn": code, "custom": code}

    path = rewritten(edited(plain, edit), {"sample_inputs/model.pt": lambda _: pickled(Bomb(mark))})
    model = load(ModelRequest(str(path)))
    assert torch.allclose(
        model.module(images_of(3)), load(ModelRequest(str(plain))).module(images_of(3)), rtol=1e-6, atol=1e-6
    )
    assert not mark.exists()


def test_a_pickled_weight_that_calls_for_code_is_refused(plain, mark):
    def edit(described):
        entry = described["config"]["conv.weight"]
        entry |= {"use_pickle": True, "path_name": "weight_0"}

    path = rewritten(edited(plain, edit, WEIGHTS), {"weights/weight_0": lambda _: pickled(Bomb(mark))})
    error = refused(path)
    assert isinstance(error, UnsafeError)
    assert "posix.system" in error.what
    assert not mark.exists()


def test_a_pickled_weight_of_plain_tensors_is_read(plain):
    values = torch.randn(6, 3, 3, 3)

    def edit(described):
        described["config"]["conv.weight"] |= {"use_pickle": True, "path_name": "weight_0"}

    path = rewritten(edited(plain, edit, WEIGHTS), {"weights/weight_0": lambda _: pickled(values)})
    assert torch.equal(load(ModelRequest(str(path))).module.network.conv.weight, values)


@pytest.mark.parametrize("prefix", ["custom_obj_0", "opaque_obj_0"])
def test_objects_with_code_are_refused(prefix, plain):
    def edit(described):
        described["config"]["thing"] = {"path_name": prefix, "is_param": False, "use_pickle": True, "tensor_meta": None}

    error = refused(edited(plain, edit, CONSTANTS))
    assert isinstance(error, UnsafeError)
    assert "'thing'" in error.what


def _custom_object(described):
    values = {"thing": {"name": "thing", "class_fqn": "__torch__.torch.classes.mine.Thing"}}
    described["graph_module"]["graph"]["custom_obj_values"] = values


def _argument_of_unknown_kind(described):
    nodes_of(described)[0]["inputs"][0]["arg"] = {"as_operator": "os.system"}


def _custom_input(described):
    spec = {"custom_obj": {"arg": {"name": "x", "class_fqn": "C"}, "custom_obj_name": "x"}}
    described["graph_module"]["signature"]["input_specs"].append(spec)


def _explosion(described):
    """relu_(x) -> repeat(x, [10**6, 10**6, 1, 1])"""
    node = node_of(described, "relu_")
    node["target"] = "torch.ops.aten.repeat.default"
    node["inputs"].append({"name": "repeats", "arg": {"as_ints": [10**6, 10**6, 1, 1]}, "kind": 1})


def _control_flow(described):
    node_of(described, "relu_")["target"] = "torch.ops.higher_order.cond"


def _newer(described):
    described["schema_version"]["major"] = 9


def _unnamed_value(described):
    node_of(described, "relu_")["inputs"][0]["arg"] = {"as_tensor": {"name": "nothing"}}


def _cycle(described):
    nodes_of(described)[0]["inputs"][0]["arg"] = {"as_tensor": {"name": nodes_of(described)[-1]["name"]}}


def _wrong_size(described):
    node_of(described, "linear")["inputs"][1]["arg"] = {"as_tensor": {"name": "p_conv_weight"}}


def _unknown_operation(described):
    node_of(described, "relu_")["target"] = "torch.ops.aten.relu_.nonsense"


def _deep_module(described):
    described["graph_module"]["module_call_graph"].append({"fqn": ".".join("a" * 200), "signature": None})


def _module_named_like_a_method(described):
    described["graph_module"]["module_call_graph"].append({"fqn": "forward", "signature": None})


def _unprintable_module(described):
    described["graph_module"]["module_call_graph"].append({"fqn": "\x1b[2Jcleared", "signature": None})


def _number_bomb(described):
    first = {"target": "_operator.add", "inputs": [_integer(2**40), _integer(1)]}
    rest = [{"target": "_operator.mul", "inputs": [_symbol(f"n{step}")] * 2} for step in range(60)]
    for step, node in enumerate([first, *rest]):
        node |= {"outputs": [{"as_sym_int": {"as_name": f"n{step}"}}], "metadata": {}}
    nodes_of(described)[:0] = [first, *rest]


def _power(described):
    node = {"target": "_operator.pow", "inputs": [_integer(10), _integer(10**10)], "metadata": {}}
    nodes_of(described).insert(0, {**node, "outputs": [{"as_sym_int": {"as_name": "n"}}]})


def _integer(value):
    return {"name": "a", "arg": {"as_int": value}, "kind": 1}


def _symbol(name):
    return {"name": "a", "arg": {"as_sym_int": {"as_name": name}}, "kind": 1}


def _input_sizes(*sizes):
    def edit(described):
        graph = described["graph_module"]["graph"]
        graph["tensor_values"]["images"]["sizes"] = [{"as_int": size} for size in sizes]

    return edit


def _no_graph(described):
    del described["graph_module"]["graph"]


def _depends_on_pixels(described):
    node = node_of(described, "mean")
    node["target"] = "torch.ops.aten.nonzero.default"
    node["inputs"] = node["inputs"][:1]


@pytest.mark.parametrize(
    ("edit", "kind", "message"),
    [
        (_custom_object, UnsafeError, "classes.mine.Thing"),
        (_argument_of_unknown_kind, UnsafeError, "as_operator"),
        (_custom_input, UnsafeError, "custom_obj"),
        (_explosion, UnsafeError, "repeat makes a tensor of"),
        (_control_flow, ModelError, "control structure 'cond'"),
        (_newer, ModelError, "version 9"),
        (_unnamed_value, ModelError, "nothing"),
        (_cycle, ModelError, "no program"),
        (_wrong_size, ModelError, "no program"),
        (_unknown_operation, ModelError, "no operation"),
        (_deep_module, ModelError, "200 deep"),
        (_module_named_like_a_method, ModelError, "no program"),
        (_no_graph, ModelError, "no program"),
        (_unprintable_module, ModelError, "cannot be shown"),
        (_number_bomb, ModelError, "64 bits"),
        (_power, ModelError, "64 bits"),
        (_input_sizes(10**7, 3, 8, 8), ModelError, "more than can be tried"),
        (_input_sizes(2, 3, 10**6, 10**6), ModelError, "more than can be tried"),
        (_input_sizes(0, 3, 8, 8), ModelError, "no elements"),
        (_input_sizes(-2, 3, 8, 8), ModelError, "no elements"),
        (_input_sizes(), ModelError, "no elements"),
        (_depends_on_pixels, ModelError, "depend on the pixels"),
    ],
)
def test_a_program_that_cannot_be_used(edit, kind, message, plain):
    error = refused(edited(plain, edit))
    assert type(error) is kind
    assert message in str(error)


def _not_averaged(described):
    node = node_of(described, "mean")
    node["target"] = "torch.ops.aten.relu.default"
    node["inputs"] = node["inputs"][:1]


def test_operands_that_do_not_fit_are_one_line_and_no_log(plain):
    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    lines: list[str] = []
    handler, logger = Kept(), logging.getLogger("torch._subclasses.fake_tensor")
    logger.addHandler(handler)
    try:
        assert "describes no program that can be read" in str(refused(edited(plain, _not_averaged)))
    finally:
        logger.removeHandler(handler)
    assert lines == []


def _of_weight(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def edit(described):
        described["config"]["conv.weight"]["tensor_meta"] |= changes

    return edit


def _sizes(*sizes: int) -> list[dict[str, int]]:
    return [{"as_int": size} for size in sizes]


@pytest.mark.parametrize(
    ("edit", "kind", "message"),
    [
        (_of_weight(sizes=_sizes(10**5, 10**5, 1, 1), strides=_sizes(0, 0, 0, 0)), UnsafeError, "10000000000 elements"),
        (_of_weight(strides=_sizes(10**6, 9, 3, 1)), UnsafeError, "beyond its bytes"),
        (_of_weight(storage_offset={"as_int": 100}), UnsafeError, "beyond its bytes"),
        (_of_weight(storage_offset={"as_int": -1}), UnsafeError, "negative"),
        (_of_weight(sizes=_sizes(6, 3, 3)), UnsafeError, "negative"),
        (_of_weight(dtype=99), ModelError, "no program"),
        (lambda described: described["config"].pop("conv.weight"), ModelError, "'conv.weight'"),
        (lambda described: described["config"]["conv.weight"].update(path_name="../../../etc"), UnsafeError, "lacks"),
        (lambda described: described.pop("config"), ModelError, "no program"),
    ],
)
def test_weights_that_are_not_what_they_claim(edit, kind, message, plain):
    error = refused(edited(plain, edit, WEIGHTS))
    assert type(error) is kind
    assert message in str(error)


@pytest.mark.slow_for("{-no program")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no program"),
        (b"{", "no program"),
        (b"[" * 100_000, "no program"),
        (b"null", "no program"),
        (b'"text"', "no program"),
        (b"\xff\xfe\x00", "no program"),
        (json.dumps({"schema_version": {"major": 8}}).encode(), "graph_module"),
    ],
)
def test_a_description_that_is_none(content, message, plain):
    error = refused(rewritten(plain, {"models/model.json": lambda _: content}))
    assert isinstance(error, ModelError)
    assert message in str(error)


def test_missing_members(plain):
    assert "no program" in str(refused(rewritten(plain, {"models/model.json": lambda _: None})))
    assert "lacks the weights" in str(refused(rewritten(plain, {"weights_config.json": lambda _: None})))
    assert isinstance(refused(rewritten(plain, {"weight_0": lambda _: None})), UnsafeError)
    assert "no values" in str(refused(rewritten(plain, {"weights/weight_0": lambda _: b""})))


def test_compiled_code_is_refused(plain, tmp_path):
    path = tmp_path / "compiled.pt2"
    path.write_bytes(plain.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/aotinductor/model/model.so", b"\x7fELF")
    error = refused(path)
    assert isinstance(error, UnsafeError)
    assert "compiled code" in error.what


def test_sizes_that_the_operation_itself_does_not_check(tmp_path):
    path = save(randomised(Recurrent()), tmp_path / "model.pt2")

    def edit(described):
        node_of(described, "zeros")["inputs"][0]["arg"] = {"as_ints": [3, 1, 6]}

    error = refused(edited(path, edit))
    assert "invalid for input of size 18" in str(error)
