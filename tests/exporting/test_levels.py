"""Which values of files are black and white travels with a model."""

import pytest

from tf_deconv.exporting.manifest import file_metadata, make_manifest
from tf_deconv.exporting.model_card import make_card
from tf_deconv.inference import descriptions
from tf_deconv.utils.options import UserError

CONTRACT = {
    "channels_in": 1,
    "channels_out": 1,
    "divisor": 4,
    "scale": 1,
    "tflite_sizes": [[64, 64]],
}


@pytest.mark.parametrize("levels", [None, {"uint16": [0, 4095], "float": [0.5, 2]}])
def test_levels_are_in_manifest_metadata_and_card(levels):
    description = {"task": "denoise-grey", "levels": levels}
    manifest = make_manifest(
        "m", 0, description, CONTRACT, reports=[], graph_tensors=None, license="CC0"
    )
    assert manifest["levels"] == levels
    assert file_metadata(manifest, "tflite/m.tflite")["levels"] == levels
    assert descriptions.check(manifest, "m") is manifest
    card = make_card(manifest, [], False)
    assert ("float values: 0.5 to 2 are taken as 0 to 1" in card) == bool(levels)
    assert ("uint16 values: 0 to 4095 are taken as 0 to 1" in card) == bool(levels)


@pytest.mark.parametrize(
    "levels", [[0, 1], {"uint16": 7}, {"uint16": [1, 0]}, {"uint16": [0, "a"]}, {"f": [0, 1e999]}]
)
def test_levels_that_are_none_are_refused_in_one_line(levels):
    with pytest.raises(UserError, match=r"tells levels as .*: expected an object of two numbers"):
        descriptions.check({"levels": levels}, "'m.keras'")
