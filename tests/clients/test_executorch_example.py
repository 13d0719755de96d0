"""examples/executorch/convert.py: each operator computes what ONNX says, or is refused by name."""

import importlib.util
import sys
import types

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

HAS_TORCH = importlib.util.find_spec("torch") is not None
SHAPE = (1, 4, 13, 10)


class _Missing(types.ModuleType):
    """Stands in for a library that refusing needs nothing of."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return types.SimpleNamespace(Module=object) if name == "nn" else object()


@pytest.fixture
def convert(repository, monkeypatch):
    names = ["executorch", "executorch.exir", "executorch.backends"]
    names += ["executorch.backends.xnnpack", "executorch.backends.xnnpack.partition"]
    names += ["executorch.backends.xnnpack.partition.xnnpack_partitioner"]
    names += [] if HAS_TORCH else ["torch", "torch.nn"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, _Missing(name))
    path = repository / "examples" / "executorch" / "convert.py"
    spec = importlib.util.spec_from_file_location("convert_for_executorch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model_of(operator, weights=(), domain="", **attributes):
    """Returns an ONNX file of one operator on x, whose other inputs are stored."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    names = [f"input_{number}" for number in range(len(weights))]
    node = helper.make_node(operator, ["x", *names], ["y"], domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", float32, SHAPE)],
        [helper.make_tensor_value_info("y", float32, None)],
        [onnx.numpy_helper.from_array(each, name) for name, each in zip(names, weights)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def values(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


KERNEL, UNEQUAL = values(4, 4, 3, 3), values(4, 4, 4, 3)
PADS = np.array([0, 0, 1, 2, 0, 0, 3, 4])
COMPUTED = [
    *(
        ("Conv", [KERNEL], dict(auto_pad=rule, strides=[2, 2]))
        for rule in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    ("Conv", [UNEQUAL, values(4)], dict(dilations=[2, 1], pads=[1, 0, 2, 1])),
    ("Conv", [values(4, 2, 3, 3)], dict(group=2, pads=[1, 0, 2, 1])),
    *(
        ("AveragePool", [], dict(auto_pad=rule, kernel_shape=[4, 4], strides=[2, 2], **counts))
        for rule in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for counts in ({}, {"count_include_pad": 1})
    ),
    ("AveragePool", [], dict(kernel_shape=[4, 4], pads=[0, 1, 2, 1])),
    (
        "ConvTranspose",
        [values(4, 3, 3, 3), values(6)],
        dict(strides=[2, 2], pads=[1, 0, 1, 2], output_padding=[1, 0], group=2, dilations=[1, 2]),
    ),
    *(("Pad", [PADS], dict(mode=mode)) for mode in ("constant", "reflect", "edge", "wrap")),
    ("Relu", [], {}),
]
REFUSED = [
    ("ConvTranspose", [KERNEL], dict(output_shape=[27, 21]), "ConvTranspose with output_shape="),
    ("ConvTranspose", [KERNEL], dict(auto_pad="SAME_UPPER"), "ConvTranspose with auto_pad="),
    ("AveragePool", [], dict(kernel_shape=[2, 2], ceil_mode=1), "AveragePool with ceil_mode=1"),
    ("AveragePool", [], dict(kernel_shape=[2, 2], dilations=[2, 2]), "with dilations="),
    ("Pad", [PADS, np.float32(1)], {}, "Pad with another value than 0"),
    ("Pad", [-PADS], {}, "Pad by "),
    ("Pad", [np.array([0, 1, 0, 0, 0, 0, 0, 0])], {}, "Pad by "),
    ("LeakyRelu", [], dict(alpha=0.1), "operator LeakyRelu"),
    ("Relu", [], dict(domain="com.example"), "operator Relu"),
]


@pytest.mark.parametrize(("operator", "weights", "attributes"), COMPUTED)
def test_what_is_computed_is_accepted(convert, operator, weights, attributes):
    convert.check(model_of(operator, weights, **attributes).graph)


@pytest.mark.parametrize(("operator", "weights", "attributes"), COMPUTED)
def test_each_attribute_is_computed_with(convert, operator, weights, attributes):
    # auto_pad was taken for no padding, and dilations, groups and output_padding for theirs.
    if not HAS_TORCH:
        pytest.skip("not installed: torch")
    torch, runtime = importlib.import_module("torch"), pytest.importorskip("onnxruntime")
    model, image = model_of(operator, weights, **attributes), values(*SHAPE)
    session = runtime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {"x": image})
    found = convert.Network(model.graph).eval()(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("operator", "weights", "attributes", "said"), REFUSED)
def test_what_would_give_another_picture_is_refused(convert, operator, weights, attributes, said):
    weights = [np.asarray(each) for each in weights]
    with pytest.raises(SystemExit, match=said):
        convert.check(model_of(operator, weights, **attributes).graph)


def test_a_model_of_films_is_refused(convert):
    model = model_of("Relu")
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("state", onnx.TensorProto.FLOAT, SHAPE)
    )
    with pytest.raises(SystemExit, match="inputs and outputs x, state, y"):
        convert.check(model.graph)
