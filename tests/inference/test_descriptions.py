"""What files of strangers tell of themselves: a line that names the fault, never a traceback."""

import json
import pathlib
import shutil
import zipfile

import keras
import numpy as np
import pytest

from tests.fixtures import tiny_generators
from tests.fixtures.commands import refuses
from tf_deconv.evaluation import inspect
from tf_deconv.exporting import restoration
from tf_deconv.exporting.tflite import convert
from tf_deconv.generation.spec import GeneratorSpec, read_spec
from tf_deconv.inference import run_folder, saved_model_file
from tf_deconv.inference.located import locate
from tf_deconv.networks.article import build_article
from tf_deconv.training import checkpoints
from tf_deconv.utils.options import UserError

MEMBER = "tf_deconv.json"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A network as plain Keras writes it: nothing describes it."""
    path = tmp_path_factory.mktemp("plain") / "model.keras"
    keras.utils.set_random_seed(3)
    build_article(None, None, 1, 1).save(path)
    return path


@pytest.fixture
def describing(plain, tmp_path):
    """Copies that model with a description inside."""

    def write(content, compression=zipfile.ZIP_DEFLATED):
        path = shutil.copy(plain, tmp_path / "model.keras")
        with zipfile.ZipFile(path, "a", compression) as archive:
            archive.writestr(MEMBER, content)
        return path

    return write


def damage(path, change):
    """Changes the bytes of the description, and the entry in the archive's directory."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(MEMBER)
    content = bytearray(path.read_bytes())
    start = entry.header_offset + 30 + len(MEMBER)
    directory = content.rindex(b"PK\1\2")
    change(content, slice(start, start + entry.compress_size), directory)
    path.write_bytes(content)


def overwrite(content, data, directory):
    content[data] = b"\xff" * (data.stop - data.start)


def encrypt(content, data, directory):
    content[directory + 8] |= 1


def compress_in_no_known_way(content, data, directory):
    content[directory + 10] = 77


@pytest.mark.parametrize("change", [overwrite, encrypt, compress_in_no_known_way])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_description_that_cannot_be_read_is_one_line(capsys, describing, change, compression):
    # zlib.error, RuntimeError and NotImplementedError came through as tracebacks.
    path = describing(json.dumps({"task": "denoise"}), compression)
    damage(path, change)
    for command in ("inspect", "export"):
        assert f"its description ({MEMBER}) is damaged" in refuses(capsys, command, path)


@pytest.mark.parametrize("content", ["{", "", "[" * 100_000, b"\xff\xfe"])
def test_a_description_that_is_no_json_is_one_line(capsys, describing, content):
    path = describing(content)
    assert f"its description ({MEMBER}) is damaged" in refuses(capsys, "inspect", path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": "2"}, "tells scale as '2': expected a whole number from 1 to 64"),
        ({"scale": 0}, "tells scale as 0"),
        ({"divisor": 2.0}, "tells divisor as 2.0"),
        ({"divisor": [2]}, "tells divisor as [2]"),
        ({"task": ["denoise"]}, "tells task as ['denoise']: expected a text"),
        ({"network": 7}, "tells network as 7"),
        ({"training": "x" * 99}, f"tells training as '{'x' * 59}...: expected an object"),
        ({"began_with": {"training": 7}}, "tells training as 7"),
        ({"began_with": [1]}, "tells began_with as [1]"),
        ({"generator": 7}, "tells generator as 7"),
        ({"generator": {"kind": "x"}}, "describes its generator as no version"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(capsys, describing, fields, message):
    path = describing(json.dumps(fields))
    line = refuses(capsys, "inspect", path)
    assert message in line
    assert "model.keras" in line


GENERATORS = [
    dict(kind="vae", height=8, width=8, channels=1, classes=3, latent=4, likelihood="bernoulli"),
    dict(kind="flow", height=8, width=9, channels=3, classes=0, latent=None, likelihood=None),
]


@pytest.mark.parametrize("known", GENERATORS)
def test_facts_of_a_generator_have_their_types_and_ranges(known):
    assert read_spec({"generator": known}, "x") == GeneratorSpec(**known)
    wrong = ("x", "", -1, 0, 1.5, True, [], {}, [1], None)
    kept = {"classes": 0, "latent": None, "likelihood": None}
    for name in known:
        for value in wrong:
            if known["kind"] == "flow" and name in kept and value == kept[name] and value != "":
                continue
            if name == "classes" and value == 0 and value is not False:
                continue
            with pytest.raises(UserError, match="describes its generator as no version of tf_dec"):
                read_spec({"generator": known | {name: value}}, "x")


MANIFEST = {
    "name": "model",
    "task": "denoise",
    "network": "article",
    "training": {"degrade": "noise:5", "data": "in"},
    "began_with": {"training": {"task": "denoise"}, "training_s": 5.0, "device": "CPU"},
    "training_s": 7.0,
    "versions": {"keras": "3"},
    "data_sha256": "0",
    "trained_on": "CPU",
    "files": [
        {
            "file": "1/",
            "sha256": {"1/saved_model.pb": "0"},
            "parity": {"psnr_db": 50.0, "floor_db": 40.0, "exact": False},
            "task_psnr_db": 30.0,
            "latency_ms_one_thread": {"serving_default": 1.0},
        }
    ],
}


def altered(value, wrong):
    """Yields copies of a JSON value in which one part at a time is something else."""
    yield from wrong
    if isinstance(value, dict):
        for key in value:
            for part in altered(value[key], wrong):
                yield value | {key: part}
            yield {name: part for name, part in value.items() if name != key}
    if isinstance(value, list):
        for index in range(len(value)):
            for part in altered(value[index], wrong):
                yield [*value[:index], part, *value[index + 1 :]]


def test_no_manifest_makes_inspect_fail_with_a_traceback(tmp_path, monkeypatch):
    folder = tmp_path / "model" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    contract = dict.fromkeys(("channels_in_meaning", "channels_out_meaning", "sizes"))
    contract |= dict(channels_in=1, channels_out=1, divisor=2, scale=1, receptive_field=3)
    contract |= dict(tile_overlap=2, value_range=[0.0, 1.0])
    monkeypatch.setattr(inspect, "_restorer", lambda located: (contract, None))
    monkeypatch.setattr(inspect, "_generator", lambda located: (contract, None))
    monkeypatch.setattr(saved_model_file, "read_signatures", lambda found: [])
    refused = told = 0
    for manifest in altered(MANIFEST, ("x", 7, -1.5, True, None, [], [1], {}, {"a": [1]})):
        (folder.parent / "manifest.json").write_text(json.dumps(manifest))
        try:
            inspect.lines(inspect.inspect_artifact(folder))
            locate(folder).check_files()
            told += 1
        except UserError:
            refused += 1
    assert refused > 20
    assert told > 20


@pytest.mark.parametrize("load", [run_folder.load_samples, "checkpoint"])
def test_compressed_arrays_that_are_damaged_are_told(tmp_path, load):
    samples = run_folder.Samples(np.zeros((1, 8, 8, 1), np.float32), (), (), ())
    path = tmp_path / "epoch-000001.npz"
    run_folder.save_samples(samples, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    content = bytearray(path.read_bytes())
    for entry in entries.values():
        start = (
            entry.header_offset
            + 30
            + int.from_bytes(content[entry.header_offset + 28 : entry.header_offset + 30], "little")
            + len(entry.filename)
        )
        content[start : start + entry.compress_size] = b"\xff" * entry.compress_size
    path.write_bytes(content)
    if load == "checkpoint":
        assert (
            "is damaged and was passed over" in checkpoints.load_newest_checkpoint(tmp_path)[2][0]
        )
    else:
        with pytest.raises(UserError, match=r"cannot be read: .*train again or export another run"):
            load(path)


@pytest.mark.parametrize("state", ["[" * 100_000, "[1]", "{}", '{"epoch": "x"}'])
def test_a_checkpoint_whose_state_is_strange_is_passed_over(tmp_path, state):
    np.savez(tmp_path / "epoch-000002.npz", state=np.array(state), variable_0=np.zeros(1))
    good = {"epoch": 1, "data_sha256": "0"}
    checkpoints.save_checkpoint(tmp_path / "epoch-000001.npz", good, [np.zeros(1)])
    found, _, warnings = checkpoints.load_newest_checkpoint(tmp_path)
    assert found == good
    assert warnings[0].startswith("epoch-000002.npz is damaged and was passed over")


def test_a_generator_of_another_kind_is_one_line(capsys, tmp_path):
    path = tiny_generators.write(tmp_path / "flow.keras", "flow")
    with zipfile.ZipFile(path) as archive:
        known = json.loads(archive.read(MEMBER))
    known["generator"]["kind"] = "gan"
    copy = tmp_path / "gan.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(known) if name == MEMBER else old.read(name))
    line = refuses(capsys, "sample", copy, "--out", tmp_path / "out")
    assert "describes its generator as no version of tf_deconv does" in line


def test_a_lone_file_of_noise_that_is_not_clipped_can_be_calibrated(describing):
    # Patches beyond [0, 1] were refused, so that no such file was exported without its run.
    known = {"task": "denoise-grey", "training": {"degrade": "awgn:0-55 clip:0.25"}}
    path = describing(json.dumps(known))
    samples = restoration._find_samples(pathlib.Path(path), known, run_folder.load_model(path))
    convert.check_calibration(samples.calibration)
