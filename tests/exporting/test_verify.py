"""`tf-deconv verify`: each fault that clients usually have is named; a right picture is right."""

import hashlib
import json
import math
import shutil

import numpy as np
import pytest

from tests.fixtures.commands import call, refuses
from tf_deconv.exporting import golden, verify
from tf_deconv.exporting.parity import diagnosis, runner
from tf_deconv.images import arrays
from tf_deconv.inference import shipped
from tf_deconv.inference.litert_engine import LitertModel


@pytest.fixture(scope="module")
def restore():
    """Restores (H, W, 3) with a shipped model."""
    model = LitertModel(shipped.find("photo-small") / "tflite/photo-small-float32.tflite", 1)
    return lambda image: model(np.ascontiguousarray(image[np.newaxis], np.float32))[0]


@pytest.fixture(scope="module")
def known(restore):
    given = golden.picture(64, 64, 3)
    return given, restore(given)


def zero_padded(restore, given):
    """What comes of zeros where the network mirrors, as MNN's converter leaves it."""
    return restore(np.pad(given, ((4, 4), (4, 4), (0, 0))))[4:-4, 4:-4]


def bfloat16(image):
    bits = np.asarray(image, np.float32).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).view(np.float32)


def depth_to_space(depth, order):
    height, width, channels = depth.shape
    cells = depth.reshape(height, width, *((2, 2, -1) if order == "DCR" else (-1, 2, 2)))
    axes = (0, 2, 1, 3, 4) if order == "DCR" else (0, 3, 1, 4, 2)
    return cells.transpose(axes).reshape(2 * height, 2 * width, channels // 4)


def space_to_depth(image):
    height, width, channels = image.shape
    cells = image.reshape(height // 2, 2, width // 2, 2, channels)
    return cells.transpose(0, 2, 1, 3, 4).reshape(height // 2, width // 2, 4 * channels)


FAULTS = {
    "bgr": (lambda f, x, y: y[..., ::-1], "channels", "red and blue"),
    "bgr in": (lambda f, x, y: f(x[..., ::-1]), "input channels", "in as BGR"),
    "bgr in alone": (lambda f, x, y: f(x[..., ::-1])[..., ::-1], "input channels", "in as BGR"),
    "rotated channels": (lambda f, x, y: y[..., [1, 2, 0]], "channels", "order 1, 2, 0"),
    "upside down": (lambda f, x, y: y[::-1], "orientation", "top and bottom"),
    "mirrored": (lambda f, x, y: y[:, ::-1], "orientation", "left and right"),
    "transposed": (lambda f, x, y: y.transpose(1, 0, 2), "orientation", "rows and columns"),
    "turned": (lambda f, x, y: np.rot90(y), "orientation", "counter-clockwise"),
    "planes read as pixels": (
        lambda f, x, y: y.transpose(2, 0, 1).reshape(y.shape),
        "layout",
        "first in memory",
    ),
    "pixels read as planes": (
        lambda f, x, y: y.reshape(3, 64, 64).transpose(1, 2, 0),
        "layout",
        "last in memory",
    ),
    "0 to 255": (lambda f, x, y: 255 * y, "values", "0 to 255"),
    "bgr of 0 to 255": (lambda f, x, y: 255 * y[..., ::-1], "values", "and red and blue"),
    "-1 to 1": (lambda f, x, y: 2 * y - 1, "values", "-1 to 1"),
    "int8 left as it is": (lambda f, x, y: np.rint(255 * y) - 128, "values", "signed bytes"),
    "another scale": (lambda f, x, y: 3 * y + 7, "values", "3 times the right ones, plus 7"),
    "-1 to 1 in": (lambda f, x, y: f(2 * x - 1), "input values", "-1 to 1 went in"),
    "moved by a pixel": (lambda f, x, y: np.roll(y, 1, axis=1), "moved", "1 pixel right"),
    "moved in": (lambda f, x, y: f(np.roll(x, 2, axis=0)), "moved", "2 pixels down"),
    "half a pixel": (
        lambda f, x, y: (y + np.roll(y, 1, axis=0)) / 2,
        "moved",
        "0.5 pixel down",
    ),
    "zeros at the border": (lambda f, x, y: zero_padded(f, x), "border", "zeros for mirrored"),
    "nothing computed": (lambda f, x, y: x, "unchanged", "nothing was computed"),
    "the change": (lambda f, x, y: y - x, "residual", "add the picture"),
    "added twice": (lambda f, x, y: y + x, "residual", "once more"),
    "order of squares": (
        lambda f, x, y: depth_to_space(space_to_depth(y), "CRD"),
        "pixel order",
        "CRD for DCR",
    ),
    "bfloat16": (lambda f, x, y: bfloat16(y), "precision", "in fewer bits"),
    "gamma": (lambda f, x, y: np.clip(y, 0, 1) ** 2.2, "gamma", "linear light"),
    "constant": (lambda f, x, y: np.full_like(y, 0.5), "constant", "every value is 0.5"),
    "not a number": (lambda f, x, y: np.where(x > 0.9, np.nan, y), "not finite", "NaN"),
    "noise": (
        lambda f, x, y: np.random.default_rng(0).random(y.shape),
        "unknown",
        "nothing known explains it",
    ),
    "another size": (lambda f, x, y: y[:32], "shape", "32x64x3: expected 64x64x3"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_client_is_named(restore, known, fault):
    make, kind, words = FAULTS[fault]
    given, expected = known
    judged = diagnosis.judge(make(restore, *known), expected, given, 100, restore)
    assert not judged.is_right
    assert (judged.kind, words in judged.fault) == (kind, True), judged


@pytest.mark.parametrize(
    "fault", [name for name, entry in FAULTS.items() if "input" not in entry[1]]
)
def test_the_result_alone_tells_it_too(restore, known, fault):
    """A client's picture is judged where no runtime is at hand."""
    make, kind, words = FAULTS[fault]
    given, expected = known
    judged = diagnosis.judge(make(restore, *known), expected, given, 100)
    assert (judged.kind, words in judged.fault) == (kind, True), judged


RIGHT = {
    "the same": lambda y: y,
    "clipped": lambda y: np.clip(y, 0, 1),
    "with a batch axis": lambda y: y[np.newaxis],
    "channels first": lambda y: y.transpose(2, 0, 1),
    "bytes": arrays.to_uint8,
    "16 bits": lambda y: np.rint(65535 * np.clip(y, 0, 1)).astype(np.uint16),
    "another order of sums": lambda y: y + np.float32(3e-6),
}


@pytest.mark.parametrize("how", RIGHT)
def test_a_right_picture_is_right(known, how):
    given, expected = known
    judged = diagnosis.judge(RIGHT[how](expected), expected, given, 100)
    assert judged.is_right, judged
    assert ("channels first" in judged.note) == (how == "channels first")


# --- The known picture.


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_picture_tells_every_turn_apart_and_lies_on_8_bits(channels):
    image = golden.picture(64, 64, channels)
    seen = [np.rot90(each, turns) for each in (image, image[:, ::-1]) for turns in range(4)]
    assert len({each.tobytes() for each in map(np.ascontiguousarray, seen)}) == 8
    np.testing.assert_array_equal(image, arrays.to_float(arrays.to_uint8(image)))
    differences = [np.abs(image[..., 0] - image[..., c]).mean() for c in range(1, channels)]
    assert all(value > 0.1 for value in differences)


def test_the_picture_is_the_same_everywhere():
    pixels = arrays.to_uint8(golden.picture(64, 64, 3)).tobytes()
    expected = "a437c02e42386fdca8f3ef7e7f67a5740b45e8b830d92f3a523a113ba2e6abb9"
    assert hashlib.sha256(pixels).hexdigest() == expected


def test_an_export_holds_what_keras_makes_of_the_picture(exported):
    folder = exported.folder / golden.FOLDER
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    given, expected = golden.read(folder, (28, 28))
    np.testing.assert_array_equal(given, golden.picture(28, 28, 1))
    np.testing.assert_array_equal(expected, np.asarray(exported.model(given[np.newaxis]))[0])
    pairs = {"input.png": given, "output.png": expected}
    large = golden.picture(256, 256, 1)
    pairs["input-256x256.png"] = large
    pairs["output-256x256.png"] = np.asarray(exported.model(large[np.newaxis]))[0]
    for name, image in pairs.items():
        pixels = verify._read_output(folder / name)
        np.testing.assert_array_equal(pixels, arrays.to_uint8(image))
    names = {path.name for path in folder.iterdir()}
    assert names == {*pairs, "input.npy", "output.npy", "README.md"}
    assert manifest["golden"]["sha256"].keys() == {f"golden/{name}" for name in names}
    for entry in manifest["files"]:
        found = entry["golden"]
        assert found["exact"] == (found["psnr_db"] is None)
        assert found["floor_db"] <= (found["psnr_db"] or math.inf) - 6
        assert found["floor_db"] <= 100


# --- The command.


@pytest.mark.slow
def test_every_file_of_an_export_is_verified(capsys, exported):
    code, output, _ = call(capsys, "verify", exported.folder, "--json")
    rows = json.loads(output)["rows"]
    assert code == 0
    assert [row["verdict"] for row in rows] == ["right"] * 7
    assert {row["against"] for row in rows} == {"golden/"}
    assert {tuple(row["size"]) for row in rows} == {(28, 28)}


@pytest.mark.slow
def test_a_file_alone_or_elsewhere_is_verified(capsys, exported, tmp_path, gate_here):
    path = exported.tflite("float32")
    code, output, _ = call(capsys, "verify", path, "--size", 256, "--runtime", "litert-compiled")
    assert code == 0
    assert "256x256: right, " in output
    assert "against the SavedModel in TensorFlow" in output
    alone = tmp_path / "mine.tflite"
    shutil.copy(path, alone)
    code, output, _ = call(capsys, "verify", alone, "--of", exported.folder)
    assert code == 0
    assert "mine.tflite in litert" in output


def test_another_models_file_is_wrong(capsys, exported, untrained, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(exported.folder, folder)
    paths = [folder / "golden" / name for name in ("output.npy", "output.png")]
    np.save(paths[0], np.load(paths[0])[..., ::-1])
    code, output, _ = call(capsys, "verify", folder / "tflite" / exported.tflite("float32").name)
    assert code == 1
    assert "WRONG" in output
    assert "red and blue are swapped" in output


def test_what_a_client_made_is_judged(capsys, exported, tmp_path):
    known = np.load(exported.folder / "golden" / "output.npy")
    np.save(tmp_path / "mine.npy", known.transpose(2, 0, 1)[np.newaxis])
    code, output, _ = call(capsys, "verify", exported.folder, "--output", tmp_path / "mine.npy")
    assert code == 0
    assert "right, every bit" in output
    assert "channels first" in output
    golden.write_png(tmp_path / "mine.png", known[::-1])
    code, output, _ = call(capsys, "verify", exported.folder, "--output", tmp_path / "mine.png")
    assert code == 1
    assert "top and bottom are swapped" in output
    large = exported.folder / "golden" / "output-256x256.png"
    code, output, _ = call(capsys, "verify", exported.folder, "--output", large)
    assert code == 0
    assert "256x256: right, " in output


@pytest.mark.slow
def test_the_known_picture_of_any_size_is_written(capsys, exported, tmp_path, gate_here):
    code, _, _ = call(
        capsys, "verify", exported.tflite("float32"), "--size", 256, "--golden", tmp_path / "g"
    )
    assert code == 0
    given, expected = golden.read(tmp_path / "g", (256, 256))
    np.testing.assert_array_equal(given, golden.picture(256, 256, 1))
    wanted = np.asarray(exported.model(given[np.newaxis]))[0]
    np.testing.assert_allclose(expected, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["README.md", "input.png", "output-64x64.png"])
def test_a_known_picture_is_not_written_over_another_s_files(capsys, tmp_path, name):
    # `verify NAME --golden .` took the place of a project's README.md, without a word.
    (tmp_path / name).write_text("mine")
    words = ("verify", "photo-small", "--golden", tmp_path)
    assert f"holds {name!r}, which no earlier call wrote: choose" in refuses(capsys, *words)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_known_picture_takes_the_place_of_an_earlier_one(tmp_path):
    for side in (16, 24):
        golden.check_target(tmp_path / "g")
        picture = golden.picture(side, side, 3)
        golden.write(tmp_path / "g", {(side, side): (picture, picture)})
    assert golden.read(tmp_path / "g", (24, 24))[0].shape == (24, 24, 3)


def test_mistakes_are_one_line(capsys, monkeypatch, exported, tmp_path):
    monkeypatch.setattr(runner.Tract, "module", "no_such_module")
    file, folder = exported.tflite("float32"), exported.folder
    (tmp_path / "x.tflite").write_bytes(b"\0\0\0\0TFL3 and nothing else")
    np.save(tmp_path / "small.npy", np.zeros((5, 5, 3), np.float32))
    cases = [
        (("verify", tmp_path), "is not an export: expected the folder of an export"),
        (("verify", "fotos"), "'fotos' does not exist (did you mean 'photo'?)"),
        (("verify", file, "--runtime", "litter"), "did you mean 'litert'?"),
        (("verify", file, "--runtime", "openvino", "--size", "32"), "--size 32x32:"),
        (("verify", file, "--size", "28,256"), "expected one size"),
        (("verify", folder, "--runtime", "tract"), "takes an .onnx file: "),
        (("verify", folder, "--runtime", "ncnn"), "takes a .param file: "),
        (("verify", folder, "--runtime", "executorch"), "takes a .pte file: "),
        (("verify", tmp_path / "x.tflite"), "lies in no export: give --of"),
        (("verify", tmp_path / "x.tflite", "--of", folder), "x.tflite"),
        (("verify", folder, "--output", tmp_path / "small.npy"), "5x5x3: made of no known"),
        (("verify", folder, "--output", tmp_path / "none.png"), "does not exist"),
        (("verify", folder, "--output", tmp_path / "x.tflite"), "is no picture"),
        (("verify", folder, "--output", "x.npy", "--runtime", "litert"), "leave it out"),
        (("verify", file, "--python", tmp_path / "python"), "does not exist"),
        (("verify", folder, "--of", folder), "leave it out"),
    ]
    for words, message in cases:
        code, output, error = call(capsys, *words)
        assert (code, output) == (2, ""), (words, output, error)
        assert error.count("\n") == 1
        assert message in error, (words, error)


def test_a_runtime_that_is_missing_is_named_with_its_package(capsys, monkeypatch, exported):
    monkeypatch.setattr(runner.TfliteRuntime, "module", "no_such_module")
    words = ("verify", exported.tflite("float32"), "--runtime", "tflite-runtime")
    code, _, error = call(capsys, *words)
    assert code == 2
    assert "is not installed: expected what `pip install tflite-runtime` brings" in error


@pytest.mark.slow
def test_known_pictures_are_added_to_an_export_that_has_none(capsys, exported, tmp_path, gate_here):
    folder = tmp_path / "model"
    shutil.copytree(exported.folder, folder)
    asked = ("verify", folder, "--golden", folder / "golden")
    code, _, errors = call(capsys, *asked)
    assert code == 2
    assert "golden is the export's own" in errors
    before = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    older = {key: value for key, value in before.items() if key != "golden"}
    kept = {entry["file"]: entry.pop("golden") for entry in older["files"]}
    # Where TensorFlow adds in another order than Keras, the SavedModel is not its equal.
    parity = older["files"][0]["parity"]
    parity["exact"], parity["psnr_db"] = True, None
    (folder / "manifest.json").write_text(json.dumps(older), encoding="utf-8")
    code, _, errors = call(capsys, *asked)
    assert code == 2
    assert "is there, and no manifest tells of it: remove it first" in errors
    shutil.rmtree(folder / "golden")
    code, output, _ = call(capsys, *asked)
    assert code == 0
    assert "right, every bit (at least 100 dB, against golden/)" in output
    after = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    # The very pictures that an export writes, and the same figures of them.
    assert after["golden"].keys() == before["golden"].keys()
    assert after["golden"]["sha256"].keys() == before["golden"]["sha256"].keys()
    for name, digest in after["golden"]["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        if "input" in name or name.endswith(".md"):
            assert digest == before["golden"]["sha256"][name]
    for entry in after["files"]:
        told, own = entry.pop("golden"), kept[entry["file"]]
        assert told["floor_db"] == pytest.approx(own["floor_db"], abs=1)
    assert [*after] == [*before]
    assert {key: after[key] for key in older} == older
