"""`import tf_deconv`: its functions do what the commands do, and its names are the stub's."""

import doctest
import logging
import pathlib
import re
import types

import numpy as np
import pytest

import tf_deconv
from tf_deconv import api
from tf_deconv.utils.options import UserError

COMMANDS = (
    "train",
    "export",
    "verify",
    "restore",
    "sample",
    "edit",
    "evaluate",
    "benchmark",
    "shard",
    "inspect",
)


def test_every_command_is_a_function():
    from tf_deconv.cli.main import _COMMANDS

    assert set(COMMANDS) == set(_COMMANDS)
    assert all(callable(getattr(tf_deconv, name)) for name in COMMANDS)


def test_functions_stay_functions_after_the_packages_are_imported():
    # A package named as a function would take its place: `tf_deconv.exporting` is not an `export`.
    import tf_deconv.data.shards.pack
    import tf_deconv.exporting.pipeline

    assert all(isinstance(getattr(tf_deconv, name), types.FunctionType) for name in COMMANDS)


def test_the_stub_names_what_the_package_has():
    stub = pathlib.Path(tf_deconv.__file__).with_suffix(".pyi").read_text()
    named = set(re.findall(r" as (\w+)$", stub, flags=re.MULTILINE)) | {"__version__"}
    assert named == set(tf_deconv.__all__)


def test_networks_are_built_by_name():
    from tf_deconv.networks import build_article, build_unet

    assert build_article().input_shape == (None, 28, 28, 1)
    assert build_unet(size="tiny").output_shape[-1] == 3


def test_importing_and_loading_print_nothing_and_leave_warnings_alone(run_python, tmp_path):
    code = (
        "import contextlib, io, os, sys, warnings\n"
        "path = sys.argv[1]\n"
        "second = os.dup(2)\n"
        "file = os.open(path, os.O_RDWR | os.O_CREAT)\n"
        "os.dup2(file, 2)\n"
        "before = list(warnings.filters)\n"
        "import tf_deconv\n"
        "assert 'tensorflow' not in sys.modules\n"
        "try:\n"
        "    tf_deconv.load('nothing.keras')\n"
        "except tf_deconv.UserError as error:\n"
        "    print(error)\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print([f for f in warnings.filters if f not in before and 'tf_deconv' in str(f)])\n"
    )
    said = tmp_path / "stderr"
    printed = run_python(code, said).splitlines()
    assert printed[0].startswith("'nothing.keras' does not exist")
    assert printed[1] == "[]"
    assert said.read_text() == ""


@pytest.mark.slow
def test_in_a_notebook_tensorflow_tells_of_no_file_that_it_writes(run_python):
    # It logs to the screen, from INFO on, where Python is interactive.
    code = (
        "import logging, sys\n"
        "sys.ps1 = '>>> '\n"
        "from tf_deconv.utils.quiet import import_tensorflow\n"
        "import_tensorflow()\n"
        "from tensorflow.python.platform import tf_logging\n"
        "tf_logging.info('Assets written to: a folder')\n"
        "print('level', logging.getLogger('tensorflow').level)\n"
    )
    assert run_python(code).splitlines() == [f"level {logging.WARNING}"]


def test_a_restorer_says_what_it_is():
    from tf_deconv.inference.restorer import Artifact, Restorer

    artifact = Artifact(lambda batch: batch, 3, 3, 4, 2, 45, ((64, 64), (128, 256)))
    assert repr(Restorer(artifact)) == (
        "<Restorer: 3 channels to 3, scale 2, sees 45 px around, sizes 64x64, 128x256>"
    )


def test_options_are_checked_before_tensorflow_loads(run_python):
    code = (
        "import sys, tf_deconv\n"
        "for call in (\n"
        "    lambda: tf_deconv.train(epochs=0),\n"
        "    lambda: tf_deconv.export(profile='phone'),\n"
        "    lambda: tf_deconv.restore('m', 'p', engine='spark'),\n"
        "    lambda: tf_deconv.evaluate('m', task='denoize'),\n"
        "    lambda: tf_deconv.benchmark(),\n"
        "    lambda: tf_deconv.shard(),\n"
        "):\n"
        "    try:\n"
        "        call()\n"
        "    except (tf_deconv.UserError, TypeError) as error:\n"
        "        print(str(error)[:40])\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    assert len(run_python(code).splitlines()) == 6


def test_unknown_keywords_are_one_line_with_the_nearest_name():
    with pytest.raises(UserError, match=r"unknown options 'epoch' \(did you mean 'epochs'\?\)"):
        api.train(epoch=3)


def test_what_is_no_config_is_refused():
    with pytest.raises(UserError, match=r"config is a dict: expected a TrainConfig$"):
        api.train({"epochs": 3})
    with pytest.raises(UserError, match=r"config is a int: expected a ExportConfig or a path"):
        api.export(3)
    with pytest.raises(UserError, match="model='a' given twice"):
        api.export("b", model="a")


def test_keywords_replace_fields_of_a_config():
    config = tf_deconv.TrainConfig(epochs=5)
    assert api._make(tf_deconv.TrainConfig, config, {"seed": 3}) == tf_deconv.TrainConfig(
        epochs=5, seed=3
    )


def test_shipped_models_are_listed():
    from tf_deconv.inference import shipped

    assert tf_deconv.list_models() == {
        name: shipped.MODELS[name].summary for name in shipped.available()
    }


def test_python_dash_m_is_the_command(run_python):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['x', '--version']\n"
        "runpy.run_module('tf_deconv', run_name='__main__')"
    )
    assert run_python(code) == f"tf-deconv {tf_deconv.__version__}"


def test_examples_in_docstrings_are_true():
    failed, tried = doctest.testmod(api)
    assert tried >= 4
    assert failed == 0


def test_a_model_is_loaded_and_called(tmp_path):
    import keras

    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, 1, use_bias=False)(image))
    model.set_weights([np.eye(3, dtype=np.float32)[None, None]])
    model.save(tmp_path / "same.keras")
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    restored = tf_deconv.load(tmp_path / "same.keras")(pixels)
    np.testing.assert_array_equal(restored, pixels)
