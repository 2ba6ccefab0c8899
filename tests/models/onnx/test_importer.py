"""From a graph to a network: what it computes, what it holds, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from lsa_audit.errors import ModelError
from lsa_audit.models.onnx.importer import import_graph
from lsa_audit.models.onnx.operations.base import UnsupportedError
from lsa_audit.models.static_batch import FixedBatch

from .building import close, floats, ints, model, node, runtime

SHAPE = ("n", 3, 8, 8)


def cnn_nodes() -> list[onnx.NodeProto]:
    """Convolution, batch norm, activation, pool and linear layer."""
    return [
        node("Conv", ["images", "conv.weight", "conv.bias"], ["c"], pads=[1, 1, 1, 1], name="/conv/Conv"),
        node("BatchNormalization", ["c", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"], ["b"]),
        node("Relu", ["b"], ["r"], name=""),
        node("Add", ["r", "c"], ["a"], name="/Add"),
        node("GlobalAveragePool", ["a"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], transB=1),
    ]


def cnn_constants() -> dict[str, numpy.ndarray]:
    return {
        "conv.weight": floats(4, 3, 3, 3),
        "conv.bias": floats(4),
        "bn.weight": floats(4, low=0.5, high=1.5),
        "bn.bias": floats(4, seed=1),
        "bn.running_mean": floats(4, seed=2),
        "bn.running_var": floats(4, low=0.5, high=1.5),
        "fc.weight": floats(5, 4),
        "fc.bias": floats(5),
    }


def exported(network: nn.Module, images: Tensor) -> nn.Module:
    free = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(network, (images,), dynamic_shapes=free, strict=False)
    return program.run_decompositions({}).module(check_guards=False)


class TestNetwork:
    @pytest.mark.slow
    def test_it_computes_what_the_runtime_does_for_any_batch_and_exports(self):
        proto = model(cnn_nodes(), SHAPE, cnn_constants())
        imported = import_graph(proto)
        graph = exported(imported.network, torch.rand(3, *SHAPE[1:]))
        assert (imported.batch, imported.input_shape, imported.notes) == (None, (3, 8, 8), ())
        for count in (1, 2, 5):
            images = torch.rand(count, 3, 8, 8)
            close(imported.network(images).detach(), runtime(proto, images))
            close(graph(images).detach(), imported.network(images).detach(), 1e-6)

    def test_weights_are_parameters_by_their_names_and_statistics_are_buffers(self):
        network = import_graph(model(cnn_nodes(), SHAPE, cnn_constants())).network
        parameters = {name: tuple(value.shape) for name, value in network.named_parameters()}
        assert parameters == {
            "conv.weight": (4, 3, 3, 3),
            "conv.bias": (4,),
            "bn.weight": (4,),
            "bn.bias": (4,),
            "fc.weight": (5, 4),
            "fc.bias": (5,),
        }
        assert sorted(name for name, _ in network.named_buffers()) == ["bn.running_mean", "bn.running_var"]

    def test_gradients_are_those_of_the_same_network_in_torch(self):
        constants = cnn_constants()
        network = import_graph(model(cnn_nodes(), SHAPE, constants)).network
        weights = {name: torch.from_numpy(values).requires_grad_() for name, values in constants.items()}
        ours, theirs = (torch.rand(2, 3, 8, 8, generator=torch.manual_seed(0)).requires_grad_() for _ in range(2))
        features = nn.functional.conv2d(theirs, weights["conv.weight"], weights["conv.bias"], padding=1)
        statistics = (weights["bn.running_mean"].detach(), weights["bn.running_var"].detach())
        normal = nn.functional.batch_norm(features, *statistics, weights["bn.weight"], weights["bn.bias"])
        pooled = (normal.relu() + features).mean((2, 3))
        expected = nn.functional.linear(pooled, weights["fc.weight"], weights["fc.bias"])
        network(ours).square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(parameter.grad, weights[name].grad)

    def test_every_step_has_the_name_of_its_node(self):
        imported = import_graph(model(cnn_nodes(), SHAPE, cnn_constants()))
        assert list(imported.layer_names.values()) == ["/conv/Conv", "/b", "Relu_2", "/Add", "/p", "/f", "/logits"]
        assert all(isinstance(imported.network.get_submodule(path), nn.Module) for path in imported.layer_names)

    def test_it_can_be_copied_and_pickled(self):
        network = import_graph(model(cnn_nodes(), SHAPE, cnn_constants())).network
        images = torch.rand(2, 3, 8, 8)
        for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):  # noqa: S301 - our own bytes
            assert torch.allclose(twin(images), network(images), rtol=1e-6, atol=1e-6)
            assert twin.layer_names == network.layer_names

    def test_the_callers_random_state_is_left_alone(self):
        before = torch.get_rng_state()
        import_graph(model(cnn_nodes(), SHAPE, cnn_constants()))
        assert torch.equal(torch.get_rng_state(), before)

    def test_nodes_in_any_order_and_nodes_that_nothing_needs(self):
        useless = node("NonZero", ["images"], ["unused"])
        proto = model([*cnn_nodes()[::-1], useless], SHAPE, cnn_constants())
        straight = model(cnn_nodes(), SHAPE, cnn_constants())
        images = torch.rand(2, 3, 8, 8)
        assert torch.allclose(
            import_graph(proto).network(images), import_graph(straight).network(images), rtol=1e-6, atol=1e-6
        )


class TestConstants:
    def test_what_depends_on_constants_alone_is_computed_once(self):
        nodes = [
            node("Constant", [], ["one"], value_float=1.0),
            node("Add", ["table", "one"], ["shifted"]),
            node("Exp", ["shifted"], ["mask"]),
            node("Mul", ["images", "mask"], ["m"]),
            node("ReduceSum", ["m", "axes"], ["logits"], keepdims=0),
        ]
        constants = {"table": floats(3, 8, 8), "axes": ints(2, 3)}
        proto = model(nodes, SHAPE, constants, output=("n", 3))
        imported = import_graph(proto)
        assert list(imported.layer_names.values()) == ["/m", "/logits"]
        assert not list(imported.network.parameters())
        assert not imported.network.state_dict(), "a table that was computed is no weight"
        images = torch.rand(2, 3, 8, 8)
        close(imported.network(images), runtime(proto, images))

    def test_a_weight_that_is_turned_keeps_its_own_shape_and_gets_its_gradient(self):
        nodes = [
            node("Identity", ["fc.weight"], ["same"]),
            node("Transpose", ["same"], ["turned"], perm=[1, 0]),
            node("MatMul", ["images", "turned"], ["logits"]),
        ]
        proto = model(nodes, ("n", 6), {"fc.weight": floats(4, 6)}, output=("n", 4))
        network = import_graph(proto).network
        images = torch.rand(3, 6)
        close(network(images).detach(), runtime(proto, images))
        network(images).sum().backward()
        ((name, weight),) = network.named_parameters()
        assert (name, tuple(weight.shape)) == ("fc.weight", (4, 6))
        torch.testing.assert_close(weight.grad, images.sum(0).expand(4, 6))

    def test_a_linear_layer_on_sequences_is_one_step(self):
        nodes = [
            node("MatMul", ["images", "w"], ["product"], name="/fc/MatMul"),
            node("Add", ["bias", "product"], ["sum"], name="/fc/Add"),
            node("Flatten", ["sum"], ["logits"]),
        ]
        proto = model(nodes, ("n", 5, 6), {"w": floats(6, 4), "bias": floats(4)})
        imported = import_graph(proto)
        assert list(imported.layer_names.values()) == ["/fc/MatMul", "/logits"]
        assert {name for name, _ in imported.network.named_parameters()} == {"w", "bias"}
        images = torch.rand(3, 5, 6)
        close(imported.network(images).detach(), runtime(proto, images))

    @pytest.mark.parametrize(("length", "neurons"), [(1, 2), (6, 1)])
    def test_a_sum_that_is_no_bias_of_the_product_stays_a_step(self, length, neurons):
        nodes = [node("MatMul", ["images", "w"], ["product"]), node("Add", ["product", "row"], ["logits"])]
        proto = model(
            nodes, ("n", 6), {"w": floats(6, neurons), "row": floats(length)}, output=("n", max(length, neurons))
        )
        imported = import_graph(proto)
        assert list(imported.layer_names.values()) == ["/product", "/logits"]
        images = torch.rand(3, 6)
        close(imported.network(images).detach(), runtime(proto, images))

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("layer.0.weight", "layer.0.weight"),
            ("onnx::Gemm_12", "onnx__Gemm_12"),
            ("forward", "forward_"),
            ("steps.weight", "steps_.weight"),
            (".a..b", "_.a._.b"),
            ("weight", "weight"),
        ],
    )
    def test_names_that_a_module_cannot_hold_are_changed(self, name, path):
        proto = model([node("MatMul", ["images", name], ["logits"])], ("n", 6), {name: floats(6, 4)}, output=("n", 4))
        assert [found for found, _ in import_graph(proto).network.named_parameters()] == [path]

    def test_a_name_that_is_also_a_prefix_is_no_collision(self):
        nodes = [node("MatMul", ["images", "a"], ["h"]), node("MatMul", ["h", "a.b"], ["logits"])]
        proto = model(nodes, ("n", 6), {"a": floats(6, 4), "a.b": floats(4, 3)}, output=("n", 3))
        assert [name for name, _ in import_graph(proto).network.named_parameters()] == ["a", "a_.b"]

    def test_a_tensor_that_serves_as_weight_and_as_statistics_is_held_twice(self):
        nodes = [
            node("BatchNormalization", ["images", "ones", "zeros", "zeros", "ones"], ["b"]),
            node("Flatten", ["b"], ["logits"]),
        ]
        proto = model(nodes, SHAPE, {"ones": floats(3, low=0.5, high=1), "zeros": floats(3)})
        network = import_graph(proto).network
        images = torch.rand(2, 3, 8, 8)
        logits = network(images)
        close(logits.detach(), runtime(proto, images))
        logits.sum().backward()
        assert {name for name, _ in network.named_parameters()} == {"ones", "zeros"}
        assert {name for name, _ in network.named_buffers()} == {"ones_", "zeros_"}

    def test_masks_of_infinity_are_no_weights(self):
        mask = numpy.triu(numpy.full((6, 6), -numpy.inf, numpy.float32), 1)
        nodes = [
            node("Add", ["images", "mask"], ["masked"]),
            node("Softmax", ["masked"], ["weights"]),
            node("Flatten", ["weights"], ["logits"]),
        ]
        network = import_graph(model(nodes, ("n", 6, 6), {"mask": mask})).network
        assert not network.state_dict()
        assert not list(network.parameters())


class TestBatch:
    def test_a_reshape_to_one_image_under_a_free_batch_is_never_silently_wrong(self):
        nodes = [
            node("Reshape", ["images", "shape"], ["rows"]),
            node("MatMul", ["rows", "w"], ["h"]),
            node("ReduceMean", ["h"], ["logits"], axes=[1], keepdims=0),
        ]
        proto = model(nodes, ("n", 4, 6), {"shape": ints(1, -1, 6), "w": floats(6, 3)}, output=("n", 3))
        imported = import_graph(proto)
        assert imported.batch == 1
        assert "one image at a time" in imported.notes[0]
        images = torch.rand(5, 4, 6)
        expected = torch.cat([runtime(proto, image[None]) for image in images])
        close(FixedBatch(imported.network, 1)(images).detach(), expected)
        assert imported.free, "the reshape leaves the batch open"
        close(imported.network(images).detach(), expected)

    def test_images_that_would_mix_are_given_one_at_a_time(self):
        nodes = [
            node("ReduceMean", ["images"], ["centre"], axes=[0]),
            node("Sub", ["images", "centre"], ["moved"]),
            node("Add", ["moved", "images"], ["logits"]),
        ]
        imported = import_graph(model(nodes, ("n", 6), output=("n", 6)))
        assert imported.batch == 1
        assert "get other logits" in imported.notes[0]

    def test_a_size_that_a_reshape_names_is_found(self):
        nodes = [node("Reshape", ["images", "shape"], ["rows"]), node("MatMul", ["rows", "w"], ["logits"])]
        proto = model(nodes, ("n", 4, 6), {"shape": ints(8, 24), "w": floats(24, 3)}, output=("n", 3))
        imported = import_graph(proto)
        assert imported.batch == 8
        assert "only 8 images at a time" in imported.notes[0]

    def test_an_input_that_is_too_large_to_try_is_refused(self):
        proto = model([node("Flatten", ["images"], ["logits"])], (10**9, 3), output=(10**9, 3))
        with pytest.raises(ModelError, match="takes 3000000000 values at a time"):
            import_graph(proto)

    @pytest.mark.slow_except("1")
    @pytest.mark.parametrize("size", [1, 4])
    def test_a_fixed_batch_runs_in_groups_and_exports(self, size):
        nodes = [
            node("Reshape", ["images", "shape"], ["rows"]),
            node("MatMul", ["rows", "w"], ["h"]),
            node("Softmax", ["h"], ["s"]),
            node("Reshape", ["s", "flat"], ["logits"]),
        ]
        constants = {"shape": ints(size * 4, 6), "w": floats(6, 3), "flat": ints(size, 12)}
        proto = model(nodes, (size, 4, 6), constants, output=(size, 12))
        imported = import_graph(proto)
        assert imported.batch == size
        network = FixedBatch(imported.network, size)
        images = torch.rand(2 * size + 1, 4, 6)
        padded = torch.cat([images, images[-1:].expand(size - 1, 4, 6)])
        expected = torch.cat([runtime(proto, group) for group in padded.split(size)])[: len(images)]
        close(network(images).detach(), expected)
        close(exported(network, images)(images).detach(), expected)

    @pytest.mark.parametrize("size", [1, 2, 5])
    def test_a_graph_that_states_one_size_may_be_free_all_the_same(self, size):
        fixed = model(cnn_nodes(), (size, *SHAPE[1:]), cnn_constants(), output=(size, 5))
        imported = import_graph(fixed)
        assert (imported.batch, imported.free) == (size, True)
        images = torch.rand(7, *SHAPE[1:])
        close(imported.network(images).detach(), runtime(model(cnn_nodes(), SHAPE, cnn_constants()), images))

    def test_a_stated_size_is_kept_where_others_give_other_logits(self):
        nodes = [
            node("Reshape", ["images", "shape"], ["pairs"]),
            node("Softmax", ["pairs"], ["s"]),
            node("Reshape", ["s", "back"], ["logits"]),
        ]
        proto = model(nodes, (2, 6), {"shape": ints(1, -1), "back": ints(-1, 6)}, output=(2, 6))
        imported = import_graph(proto)
        assert (imported.batch, imported.free) == (2, False)
        with pytest.raises(ValueError, match="takes 2 images at a time, not 3"):
            imported.network(torch.rand(3, 6))

    def test_free_sides_are_left_free(self):
        nodes = [
            node("Conv", ["images", "w"], ["c"]),
            node("GlobalAveragePool", ["c"], ["p"]),
            node("Flatten", ["p"], ["logits"]),
        ]
        imported = import_graph(model(nodes, ("n", 3, "h", "w"), {"w": floats(4, 3, 3, 3)}))
        assert (imported.batch, imported.input_shape) == (None, (3, None, None))
        assert imported.network(torch.rand(2, 3, 9, 17)).shape == (2, 4)


class TestPrecision:
    @pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64")])
    def test_other_floats_take_and_return_float32(self, kind, dtype):
        constants = {"w": floats(6, 4).astype(dtype), "bias": floats(4).astype(dtype)}
        nodes = [node("Gemm", ["images", "w", "bias"], ["h"]), node("Cast", ["h"], ["logits"], to=kind)]
        proto = model(nodes, ("n", 6), constants, output=("n", 4), dtype=kind)
        imported = import_graph(proto)
        images = torch.rand(3, 6)
        logits = imported.network(images)
        assert logits.dtype == torch.float32
        expected = runtime(proto, images.to(getattr(torch, dtype))).float()
        close(logits.detach(), expected, 2e-3 if dtype == "float16" else 1e-6)
        assert ("float16" if kind == TensorProto.FLOAT16 else "float64") in imported.notes[0]


class TestOutputs:
    def test_of_several_outputs_the_one_that_can_be_logits_is_taken_and_said(self):
        proto = model(cnn_nodes(), SHAPE, cnn_constants())
        proto.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", 4, 8, 8]))
        imported = import_graph(proto)
        assert imported.output_name == "logits"
        assert "logits is taken" in imported.notes[0]

    def test_two_that_can_be_logits_are_refused(self):
        proto = model(cnn_nodes(), SHAPE, cnn_constants())
        proto.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, ["n", 4]))
        with pytest.raises(ModelError, match="several outputs could be logits"):
            import_graph(proto, "net.onnx")

    def test_an_output_that_is_no_batch_of_logits_is_refused(self):
        proto = model(cnn_nodes()[:4], SHAPE, cnn_constants())
        proto.graph.output[0].name = "a"
        proto.graph.output[0].type.tensor_type.ClearField("shape")
        with pytest.raises(ModelError, match=r"returns \(1, 4, 8, 8\) for 1 images"):
            import_graph(proto)


class TestFunctions:
    def test_local_functions_are_put_in_place_of_their_calls(self):
        inner = helper.make_function(
            "local", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 17)]
        )
        nodes = [helper.make_node("Twice", ["images"], ["t"], domain="local"), node("MatMul", ["t", "w"], ["logits"])]
        proto = model(nodes, ("n", 6), {"w": floats(6, 4)}, output=("n", 4))
        proto.functions.append(inner)
        proto.opset_import.append(helper.make_opsetid("local", 1))
        images = torch.rand(2, 6)
        close(import_graph(proto).network(images).detach(), runtime(proto, images))


class TestRefusals:
    def test_every_operation_without_a_converter_is_named(self):
        nodes = [
            node("NonZero", ["images"], ["a"]),
            helper.make_node("FusedConv", ["images", "a"], ["b"], domain="com.microsoft"),
            node("LSTM", ["b", "w", "w"], ["c"]),
            node("Flatten", ["c"], ["logits"]),
        ]
        proto = model(nodes, SHAPE, {"w": floats(6, 4)})
        with pytest.raises(UnsupportedError) as raised:
            import_graph(proto)
        assert raised.value.operations == ("ai.onnx::LSTM", "ai.onnx::NonZero", "com.microsoft::FusedConv")

    @pytest.mark.parametrize(
        ("nodes", "reason"),
        [
            (
                [
                    node("MaxPool", ["images"], ["m", "places"], kernel_shape=[2, 2]),
                    node("Cast", ["places"], ["x"], to=1),
                ],
                "MaxPool \\(positions of the maxima as an output\\)",
            ),
            (
                [
                    node(
                        "Resize",
                        ["images", "roi", "scales"],
                        ["x"],
                        coordinate_transformation_mode="tf_crop_and_resize",
                    ),
                ],
                "Resize \\(coordinate_transformation_mode tf_crop_and_resize\\)",
            ),
            ([node("Cast", ["images"], ["x"], to=TensorProto.STRING)], "Cast \\(type 8\\)"),
            ([node("ConvTranspose", ["images", "w"], ["x"], strides=["a"])], "ConvTranspose \\(a setting that is none"),
            ([node("Softmax", ["images"], ["x"], axis="last")], "/x"),
        ],
    )
    def test_one_use_of_an_operation_is_refused_with_its_reason(self, nodes, reason):
        nodes = [*nodes, node("Flatten", ["x"], ["logits"])]
        constants = {"roi": floats(8), "scales": numpy.float32([1, 1, 2, 2]), "w": floats(3, 1, 2, 2)}
        with pytest.raises(UnsupportedError, match=reason):
            import_graph(model(nodes, SHAPE, constants))

    def test_a_node_that_fails_is_named(self):
        nodes = [node("MatMul", ["images", "w"], ["logits"], name="/fc/MatMul")]
        with pytest.raises(UnsupportedError, match="/fc/MatMul"):
            import_graph(model(nodes, ("n", 6), {"w": floats(5, 4)}))

    def test_a_constant_that_fails_is_named(self):
        nodes = [node("Add", ["v", "w"], ["sum"], name="/sum"), node("Mul", ["images", "sum"], ["logits"])]
        with pytest.raises(UnsupportedError, match=r"/sum \(Add\)"):
            import_graph(model(nodes, ("n", 6), {"v": floats(5), "w": floats(6)}))


def broken(change: str) -> onnx.ModelProto:
    proto = model(cnn_nodes(), SHAPE, cnn_constants())
    graph = proto.graph
    if change == "cyclic":
        graph.node[0].input[0] = "a"
    elif change == "missing initialiser":
        del graph.initializer[0]
    elif change == "unknown value":
        graph.node[3].input[1] = "nowhere"
    elif change == "two makers":
        graph.node[2].output[0] = "b"
    elif change == "too few operands":
        del graph.node[1].input[3:]
    elif change == "an empty operand":
        graph.node[0].input[1] = ""
    elif change == "too many outputs":
        graph.node[2].output.append("more")
    elif change == "operation of a later opset":
        graph.node[2].op_type = "Gelu"
    elif change == "two inputs":
        graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n", 3]))
    elif change == "no input":
        del graph.input[:]
    elif change == "integer input":
        graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    elif change == "dynamic rank":
        graph.input[0].type.tensor_type.ClearField("shape")
    elif change == "no output":
        del graph.output[:]
    elif change == "input not used":
        graph.initializer.append(numpy_helper.from_array(floats(1, 3, 8, 8), "other"))
        graph.node[0].input[0] = "other"
    elif change == "data too short":
        graph.initializer[0].raw_data = graph.initializer[0].raw_data[:-4]
    elif change == "attribute of no kind":
        graph.node[0].attribute[0].type = onnx.AttributeProto.UNDEFINED
    elif change == "no opset":
        del proto.opset_import[:]
    return proto


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cyclic", "made of itself"),
        ("missing initialiser", "nothing makes the value conv.weight"),
        ("unknown value", "nothing makes the value nowhere"),
        ("two makers", "two nodes make the value b"),
        ("too few operands", r"\(BatchNormalization\) has 3 operands"),
        ("an empty operand", r"/conv/Conv \(Conv\) has 3 operands, or an empty one"),
        ("too many outputs", r"\(Relu\) has 2 outputs"),
        ("operation of a later opset", "opset 17 has no operation Gelu"),
        ("two inputs", r"has 2 inputs \(images, more\)"),
        ("no input", "has 0 inputs"),
        ("integer input", "no tensor of floats"),
        ("dynamic rank", "states no shape"),
        ("no output", "no output could be logits"),
        ("input not used", "does not depend on the input"),
        ("data too short", "tensor conv.weight cannot be read"),
        ("attribute of no kind", r"\(Conv\) has an attribute without a value"),
        ("no opset", "has no operation"),
    ],
)
def test_a_broken_graph_is_refused_in_one_line(change, message):
    with pytest.raises(ModelError, match=message) as raised:
        import_graph(broken(change), "net.onnx")
    assert raised.value.what.startswith("net.onnx: ")
    assert "\n" not in str(raised.value)
