"""The choice of device, number format and XLA."""

import pytest

from tests.commands import fails
from tf_deconv import devices
from tf_deconv.options import UserError


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


def test_xla_is_off_on_a_cpu():
    assert devices.choose_device("cpu").jit_compile is False


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    with pytest.raises(UserError, match="TensorFlow sees no GPU"):
        devices.choose_device("gpu")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32")],
)
def test_a_gpu_grows_its_memory_and_trains_in_what_its_cores_have(
    monkeypatch, capability, expected
):
    import tensorflow as tf

    grown = []
    details = {"device_name": "Some GPU", "compute_capability": capability}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, on: grown.append((gpu, on))
    )
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    device = devices.choose_device("auto")
    assert (device.kind, device.name, device.precision) == ("gpu", "Some GPU", expected)
    assert grown == [("GPU:0", True)]


def test_a_missing_gpu_is_one_line_and_exit_code_2(capsys, monkeypatch, tmp_path):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert "use --device cpu" in fails(capsys, "train", "--device", "gpu")
    assert list(tmp_path.iterdir()) == []
