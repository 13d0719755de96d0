"""The choice of device, number format and XLA; training on a stand-in for a GPU."""

import json
import types

import numpy as np
import pytest

from tests.fixtures.commands import fails
from tf_deconv.utils import devices
from tf_deconv.utils.options import UserError


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2"}, "float32"),
        # bfloat16 is emulated there, 10 times slower than float32.
        ({"avx2", "avx512f", "avx512_vnni"}, "float32"),
        ({"avx512_bf16"}, "mixed_bfloat16"),
        ({"amx_bf16"}, "mixed_bfloat16"),
        (set(), "float32"),
    ],
)
def test_a_cpu_trains_in_bfloat16_only_where_it_multiplies_it(monkeypatch, flags, expected):
    monkeypatch.setattr(devices, "cpu_flags", lambda: flags)
    assert devices.choose_device("cpu").precision == expected


def test_a_precision_that_is_asked_for_is_kept(monkeypatch):
    monkeypatch.setattr(devices, "cpu_flags", lambda: {"avx512_bf16"})
    assert devices.choose_device("cpu", "float32").precision == "float32"


def test_commands_and_models_need_tensorflow_below_keras(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(UserError, match="KERAS_BACKEND='jax': expected 'tensorflow'"):
        devices.choose_device("auto")


def test_xla_is_off_on_a_cpu():
    assert devices.choose_device("cpu").jit_compile is False


@pytest.mark.parametrize(("xla", "expected"), [("on", True), ("off", False), ("auto", False)])
def test_xla_that_is_asked_for_is_kept(xla, expected):
    device = devices.choose_device("cpu", xla=xla, network="article")
    assert device.jit_compile is expected
    assert str(device).endswith(f"XLA {'on' if expected else 'off'}")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [])
    with pytest.raises(UserError, match="TensorFlow sees no GPU"):
        devices.choose_device("gpu")


@pytest.fixture
def gpu(monkeypatch):
    """One GPU of compute capability 9.0, as TensorFlow would tell of it."""
    import tensorflow as tf

    gpu = types.SimpleNamespace(grown=[], capability=(9, 0), visible=["GPU:0"], in_use=False)

    def set_visible(names, kind):
        assert kind == "GPU"
        if gpu.in_use and names != gpu.visible:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        gpu.visible = names

    monkeypatch.setattr(devices, "_hidden_gpus", [])
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: gpu.visible)
    monkeypatch.setattr(tf.config, "set_visible_devices", set_visible)
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda name, on: gpu.grown.append((name, on))
    )
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda name: {"device_name": "Some GPU", "compute_capability": gpu.capability},
    )
    return gpu


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32")],
)
def test_a_gpu_grows_its_memory_and_trains_in_what_its_cores_have(gpu, capability, expected):
    gpu.capability = capability
    device = devices.choose_device("auto")
    assert (device.kind, device.name, device.precision) == ("gpu", "Some GPU", expected)
    assert device.place == "/GPU:0"
    assert gpu.grown == [("GPU:0", True)]


def test_a_gpu_that_was_hidden_comes_back_while_tensorflow_is_not_in_use(gpu):
    # The answer was a GPU, and TensorFlow went on with the CPU.
    assert devices.choose_device("cpu").kind == "cpu"
    assert gpu.visible == []
    assert devices.choose_device("auto").kind == "gpu"
    assert gpu.visible == ["GPU:0"]


def test_a_gpu_that_was_hidden_before_tensorflow_was_used_stays_away(gpu):
    assert devices.choose_device("cpu").kind == "cpu"
    gpu.in_use = True
    for _ in range(2):
        assert devices.choose_device("auto").kind == "cpu"
    with pytest.raises(UserError, match=r"this process has begun on the CPU .* start another one"):
        devices.choose_device("gpu")
    assert gpu.visible == []


def test_a_gpu_that_the_program_hid_itself_is_left_alone(gpu):
    gpu.visible = []
    assert devices.choose_device("auto").kind == "cpu"
    assert gpu.visible == []


def test_a_gpu_compiles_by_what_was_measured_for_the_network_or_else_as_keras_does(
    gpu, monkeypatch
):
    assert devices.choose_device("gpu", network="article").jit_compile == "auto"
    monkeypatch.setitem(devices.XLA_ON_GPU, "article", False)
    assert devices.choose_device("gpu", network="article").jit_compile is False
    assert devices.choose_device("gpu", network="unet").jit_compile == "auto"
    assert devices.choose_device("gpu", xla="on", network="article").jit_compile is True


# In a process of its own: how a device is divided is fixed before TensorFlow first uses it. The
# second CPU stands for the GPU: it has the same copies, buffers and placement, by name.
ON_A_STAND_IN = """
import dataclasses, json, sys
import numpy as np
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras
from tf_deconv.training import compilation, trainer
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils import devices

listed = tf.config.get_visible_devices
tf.config.get_visible_devices = lambda kind=None: ["GPU:0"] if kind == "GPU" else listed(kind)
tf.config.experimental.set_memory_growth = lambda gpu, on: None
tf.config.experimental.get_device_details = lambda gpu: {
    "device_name": "Some GPU", "compute_capability": (9, 0)
}
place, seen = "/CPU:1", {}

def on_stand_in(function):
    # TensorFlow would prefer a GPU by itself.
    def run(*arguments, **options):
        with tf.device(place):
            return function(*arguments, **options)
    return run

def choose(*options):
    device = devices.choose_device(*options)
    seen.update({"place": device.place, "device": str(device)})
    return dataclasses.replace(device, place=place)

def copy(batches, place):
    copied = on_device(batches, place)
    # Not copied.take(5): what follows the copy brings the batches back.
    pairs = [pair for pair, _ in zip(zip(batches, copied), range(5))]
    seen["equal"] = all(np.array_equal(a, b) for here, there in pairs for a, b in zip(here, there))
    seen["before"] = sorted({part.device[-5:] for here, _ in pairs for part in here})
    seen["batches"] = sorted({part.device[-5:] for _, there in pairs for part in there})
    return copied

def fit(model, *arguments, **options):
    fitted = keras_fit(model, *arguments, **options)
    seen.update({
        "weights": sorted({weight.value.device[-5:] for weight in model.trainable_variables}),
        "computed in": model.get_layer("decoder_1_conv").compute_dtype,
        "steps per execution": model.steps_per_execution,
        "loss": fitted.history["loss"],
        "steps": int(model.optimizer.iterations.numpy()),
    })
    return fitted

trainer.choose_device = choose
on_device, trainer.patches.on_device = trainer.patches.on_device, copy
made = (compilation.build_in, compilation.compile_model)
compilation.build_in, compilation.compile_model = map(on_stand_in, made)
keras_fit, keras.Model.fit = keras.Model.fit, on_stand_in(fit)
trainer.train(
    TrainConfig(
        run_dir=sys.argv[1], xla=sys.argv[2], batch_size=4, steps_per_epoch=20, epochs=2
    ),
    report=lambda line: None,
)
print(json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("xla", "told"), [("auto", "on"), pytest.param("off", "off", marks=pytest.mark.exhaustive)]
)
def test_the_path_of_a_gpu_trains_on_a_logical_device(run_python, tmp_path, xla, told):
    seen = json.loads(run_python(ON_A_STAND_IN, tmp_path / "run", xla).splitlines()[-1])
    assert seen["place"] == "/GPU:0"
    assert seen["device"] == f"Some GPU, mixed_bfloat16, XLA {told}"
    assert seen["equal"]  # Copied ahead, and the very numbers.
    assert seen["before"] == ["CPU:0"]
    assert seen["batches"] == seen["weights"] == ["CPU:1"]
    assert seen["computed in"] == "bfloat16"
    assert (seen["steps per execution"], seen["steps"]) == (10, 40)
    assert np.isfinite(seen["loss"]).all()
    assert seen["loss"][1] < seen["loss"][0]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["xla"] == xla


@pytest.mark.parametrize(("strategy", "expected"), [(None, "/GPU:0"), (object(), None)])
def test_batches_wait_on_the_gpu_unless_a_strategy_places_them(monkeypatch, strategy, expected):
    from tf_deconv.data import patches
    from tf_deconv.training import distribution, trainer

    placed = []
    monkeypatch.setattr(patches, "on_device", lambda batches, place: placed.append(place))
    monkeypatch.setattr(distribution.Placement, "training_batches", lambda *arguments: "batches")
    monkeypatch.setattr(distribution.Placement, "validation_batches", lambda *arguments: None)
    objective = types.SimpleNamespace(
        config=types.SimpleNamespace(batch_size=4, epochs=1, steps_per_epoch=1),
        device=devices.Device("gpu", "Some GPU", "mixed_bfloat16", "auto", place="/GPU:0"),
        training_batches=lambda first_epoch, part, parts: None,
    )
    model = types.SimpleNamespace(fit=lambda *arguments, **options: None)
    run = trainer.Trainer.__new__(trainer.Trainer)
    run.config, run.device, run.objective = objective.config, objective.device, objective
    run.model, run.state, run.placement = model, {}, distribution.Placement(strategy)
    run._call_fit(None, [])
    assert placed == [expected] * (expected is not None)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    "options",
    [
        dict(network="article", task="old-photo"),
        dict(network="unet", size="base", task="denoise"),
        dict(network="unet", size="small", task="super-resolve-x2", reparameterize=True),
    ],
    ids=["article", "base", "enlarging"],
)
def test_a_gpu_has_every_operation_of_a_step_in_its_number_format(options, precision):
    """TensorFlow would run the others on the CPU, without a word, and copy to and fro."""
    import tensorflow as tf
    from tensorflow.python.framework import kernels

    from tf_deconv.degradations.tasks import TASKS
    from tf_deconv.training import compilation
    from tf_deconv.training.config import TrainConfig, check_train_config

    def kernels_of(operation):
        return kernels.get_registered_kernels_for_op(operation).kernel

    if not any(kernel.device_type == "GPU" for kernel in kernels_of("Conv2D")):
        pytest.skip("this TensorFlow was built without GPUs")
    config = check_train_config(TrainConfig(batch_size=2, **options))
    task = TASKS[config.task]
    model = compilation.build_in(precision, task, config, trained=True)
    compilation.compile_model(model, config, devices.Device("gpu", "Some GPU", precision, False))
    side = config.patch_size
    shapes = (
        (2, side // task.scale, side // task.scale, task.channels_in),
        (2, side, side, task.channels_out),
    )
    step = tf.function(lambda *batch: model.train_step(batch), autograph=False)
    graph = step.get_concrete_function(*map(tf.TensorSpec, shapes)).graph.as_graph_def()
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]

    def runs(node, kernel):
        """Tells whether a kernel takes the node's types."""
        return kernel.device_type in ("GPU", "DEFAULT") and all(
            {node.attr[limit.name].type, *node.attr[limit.name].list.type} - {0}
            <= {*limit.allowed_values.list.type}
            for limit in kernel.constraint
        )

    missing = {
        node.op for node in nodes if not any(runs(node, kernel) for kernel in kernels_of(node.op))
    }
    assert {"Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput"} <= {n.op for n in nodes}
    assert not missing


def test_a_missing_gpu_is_one_line_and_exit_code_2(capsys, monkeypatch, tmp_path):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [])
    assert "use --device cpu" in fails(capsys, "train", "--device", "gpu")
    assert list(tmp_path.iterdir()) == []
