"""The data sets of keras.datasets: loaded by Keras, or from local copies."""

import struct
import sys
import types
import zlib

import numpy as np
import pytest

from tests.fixtures.picture_folders import load
from tf_deconv.data import keras_datasets
from tf_deconv.utils.options import UserError


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    folder = tmp_path / "keras"
    (folder / "datasets" / "fashion-mnist").mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(folder))
    return folder / "datasets"


def fake_keras(monkeypatch, load_data):
    names = {
        name: types.SimpleNamespace(load_data=load_data) for name in keras_datasets.LOCAL_FILES
    }
    module = types.SimpleNamespace(datasets=types.SimpleNamespace(**names))
    monkeypatch.setitem(sys.modules, "keras", module)


def no_network():
    raise Exception("URL fetch failure on https://example.org: None -- no route")


@pytest.mark.parametrize("name", keras_datasets.LOCAL_FILES)
def test_a_keras_data_set_that_cannot_be_had_says_which_file_to_put_where(
    keras_home, monkeypatch, name
):
    fake_keras(monkeypatch, no_network)
    with pytest.raises(UserError) as caught:
        load(f"keras:{name}")
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot be downloaded (URL fetch failure" in message
    for file in keras_datasets.LOCAL_FILES[name]:
        assert repr(str(keras_home / file)) in message


@pytest.mark.parametrize("shape", [(20, 8, 8), (20, 8, 8, 3), (20, 3, 8, 8)])
def test_a_keras_data_set_is_loaded_by_keras(keras_home, monkeypatch, rng, shape):
    pictures = rng.integers(0, 256, shape, np.uint8)
    labels = np.arange(20)
    fake_keras(monkeypatch, lambda: ((pictures[:15], labels[:15]), (pictures[15:], labels[15:])))
    source = load("keras:cifar10")
    names = {*source.training.names, *source.validation.names}
    assert names == {f"cifar10/train[{i}]" for i in range(15)} | {
        f"cifar10/test[{i}]" for i in range(5)
    }
    assert {*source.training.widths} == {8}


def test_local_copies_are_read_without_keras(keras_home, monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "keras", None)
    pictures = rng.integers(0, 256, (20, 8, 8), np.uint8)
    np.savez(
        keras_home / "mnist.npz",
        x_train=pictures[:15], y_train=np.zeros(15), x_test=pictures[15:], y_test=np.zeros(5),
    )  # fmt: skip
    for part, some in (("train", pictures[:15]), ("t10k", pictures[15:])):
        path = keras_home / "fashion-mnist" / f"{part}-images-idx3-ubyte.gz"
        path.write_bytes(zlib_gzip(struct.pack(">4I", 0x803, *some.shape) + some.tobytes()))
    mnist, fashion = load("keras:mnist"), load("keras:fashion_mnist")
    assert mnist.training.sha256() == fashion.training.sha256()
    assert len(mnist.training) + len(mnist.validation) == 20


def zlib_gzip(data):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def test_an_unknown_keras_data_set_is_refused_with_the_nearest():
    with pytest.raises(
        UserError, match=r"did you mean 'fashion_mnist'\?\): expected keras: and one"
    ):
        load("keras:fashion-mnist")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_keras_itself_looks_for_the_file_that_the_message_names(monkeypatch, name):
    import importlib

    module = importlib.import_module(f"keras.src.datasets.{name}")
    asked = []

    def get_file(fname, **options):
        asked.append(fname + "_archive" * options["extract"])
        raise FileNotFoundError

    monkeypatch.setattr(module, "get_file", get_file)
    with pytest.raises(FileNotFoundError):
        module.load_data()
    assert tuple(asked) == keras_datasets.LOCAL_FILES[name]
