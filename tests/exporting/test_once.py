"""An export does each thing once, and publishes the very bytes that its gate ran."""

import collections
import hashlib
import json

import pytest

from tests.fixtures.commands import does
from tests.fixtures.tflite_files import with_metadata
from tf_deconv.exporting import pipeline
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.parity import gate
from tf_deconv.exporting.tflite import flatbuffer
from tf_deconv.inference import artifacts, restorer, tflite_file
from tf_deconv.inference.located import locate
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError


def watch(monkeypatch, module, name, key):
    """Counts the calls of a function of a module by what `key` makes of their arguments."""
    counts, original = collections.Counter(), getattr(module, name)

    def counted(*arguments, **options):
        counts[key(*arguments, **options)] += 1
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, counted)
    return counts


def test_each_file_is_unpacked_packed_and_compared_once(run, tmp_path, gate_here, monkeypatch):
    def digest(data):
        return hashlib.sha256(data).hexdigest()

    def at_the_gate(path, *_):
        root = path if path.is_dir() else path.parent
        return path.name, tuple(sorted(files.checksums(path, root).values()))

    unpacked = watch(monkeypatch, tflite_file, "_unpack", digest)
    packed = watch(monkeypatch, flatbuffer, "pack", id)
    restored = watch(
        monkeypatch,
        restorer,
        "restore_picture",
        lambda _, image, *how: (image.shape, digest(image.tobytes())),
    )
    ran = watch(monkeypatch, gate, "run_file", at_the_gate)
    config = ExportConfig(
        model=str(run.folder), out=str(tmp_path), sizes="28", variants="float32 float16 int8"
    )
    result = pipeline.export(config, lambda _: None)

    # float32 is computed by phases where it is published, and as the network is for int8.
    assert set(unpacked.values()) == {1}
    assert len(unpacked) == 4
    assert list(packed.values()) == [1, 1, 1]
    assert set(restored.values()) == {1}
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert len(ran) == len(manifest["files"]) == 4
    for entry in manifest["files"]:
        published = result.folder / entry["file"]
        assert entry["sha256"] == files.checksums(published, result.folder)
        assert ran[published.name, tuple(sorted(entry["sha256"].values()))] == 1


def test_a_lone_file_whose_weights_changed_is_told(capsys, exported, tmp_path):
    content = bytearray(exported.tflite("int8").read_bytes())
    path = tmp_path / "alone.tflite"
    path.write_bytes(content)
    assert locate(path).buffers_unchanged is True
    assert "its weights are those" in does(capsys, "inspect", path)
    # The largest buffer is a kernel.
    stored = [each.data for each in TfliteFile(bytes(content)).model.buffers]
    kernel = max((data for data in stored if data is not None), key=len).tobytes()
    content[content.index(kernel) + len(kernel) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="its weights have another checksum"):
        artifacts.load(path)
    assert "THE WEIGHTS ARE NOT THOSE THAT WERE EXPORTED" in does(capsys, "inspect", path)


def test_any_byte_of_a_lone_file_that_changed_is_told(exported, tmp_path, rng):
    # The scale of a weight lies outside the buffers, and was not covered by their checksum.
    content = exported.tflite("int8").read_bytes()
    scale = next(
        tensor.quantization.scale
        for tensor in TfliteFile(content).model.subgraphs[0].tensors
        if tensor.quantization is not None and tensor.quantization.scale is not None
        if len(tensor.quantization.scale) > 1
    )
    places = [content.index(scale.astype("<f4").tobytes()) + 1]
    places += rng.integers(len(content), size=200).tolist()
    name = content.index(b'"file_sha256"')  # Without it the file is an earlier export's.
    for place in places:
        if name <= place < name + len(b'"file_sha256": "'):
            continue
        changed = bytearray(content)
        changed[place] ^= 1
        facts = tflite_file.read_metadata(bytes(changed))
        assert tflite_file.is_unchanged(bytes(changed), facts) is False, place


def test_a_file_of_an_earlier_export_opens_as_before(exported):
    content = exported.tflite("float32").read_bytes()
    older = with_metadata(content, {"name": "older"})
    assert tflite_file.is_unchanged(older, tflite_file.read_metadata(older)) is None
    checked = {"buffers_sha256": tflite_file._buffers_sha256(content)}
    older = with_metadata(content, checked)
    assert tflite_file.is_unchanged(older, tflite_file.read_metadata(older)) is True
    kernel = max((b.data for b in TfliteFile(older).model.buffers if b.data is not None), key=len)
    place = older.index(kernel.tobytes())
    older = older[:place] + bytes([older[place] ^ 1]) + older[place + 1 :]
    assert tflite_file.is_unchanged(older, tflite_file.read_metadata(older)) is False
