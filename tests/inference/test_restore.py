"""`tf-deconv restore` as a user runs it."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.commands import call, does, refuses
from tests.fixtures.picture_folders import write_noise
from tf_deconv.cli import main
from tf_deconv.images import arrays, reading
from tf_deconv.images import files as image_files
from tf_deconv.inference import in_turn, picture_job
from tf_deconv.inference.restorer import restore_picture


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def expected_of(exported, path):
    grey = arrays.luminance(arrays.to_float(reading.read_rgb(path))).astype(np.float32)
    return arrays.to_uint8(restore_picture(exported.model, grey, 2))


def check(exported, source, target):
    received = reading.read_rgb(target).astype(int)
    assert np.abs(received - expected_of(exported, source)).max() <= 1


@pytest.mark.parametrize("kind", ["run", "keras", "version", "name", "tflite"])
def test_every_kind_of_model_restores_a_picture(capsys, tmp_path, run, exported, kind):
    model = {
        "run": run.folder,
        "keras": run.folder / "model.keras",
        "version": exported.folder / "1",
        "name": exported.folder,
        "tflite": exported.tflite("float32"),
    }[kind]
    source = write_noise(tmp_path / "in.png", (61, 45))
    # Of a model's folder, what suits the picture's depth: tests/inference/test_engines.py.
    options = ("--precision", "float32", "--out", tmp_path / "out")
    out = does(capsys, "restore", model, source, *options)
    engine = "TensorFlow" if kind in ("run", "keras", "version") else "LiteRT"
    assert out.startswith(f"engine: {engine}, float32, ")
    assert "[1/1]" in out
    check(exported, source, tmp_path / "out" / "in.png")


def test_a_folder_keeps_its_tree(capsys, tmp_path, run, exported):
    names = ["a.png", "deep/er/b.bmp", "deep/c.gif", "deep/d.tif", "e.webp", "f.jpg"]
    for seed, name in enumerate(names):
        write_noise(tmp_path / "in" / name, seed=seed)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    does(capsys, "restore", run.folder, tmp_path / "in", "--out", tmp_path / "out")
    written = ["a.png", "deep/c.png", "deep/d.tif", "deep/er/b.bmp", "e.webp", "f.jpg"]
    assert tree(tmp_path / "out") == written
    for name in ("a.png", "deep/er/b.bmp"):
        check(exported, tmp_path / "in" / name, tmp_path / "out" / name)


def test_a_bad_picture_does_not_stop_the_rest(capsys, tmp_path, run):
    for name in ("a.png", "c.png"):
        write_noise(tmp_path / "in" / name)
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    code, out, _ = call(capsys, "restore", run.folder, tmp_path / "in", "--out", tmp_path / "out")
    assert code == 1
    assert tree(tmp_path / "out") == ["a.png", "c.png"]
    last = out.splitlines()[-2:]
    assert last[0] == "1 of 3 pictures could not be restored:"
    assert "b.png: is not a picture of a kind that is read: expected PNG" in last[1]


def test_a_runtime_that_fails_on_one_picture_goes_on(capsys, tmp_path, run, monkeypatch):
    from tf_deconv.inference.restorer import Restorer

    write_noise(tmp_path / "in" / "a.png", (50, 30))
    write_noise(tmp_path / "in" / "b.png", (40, 36))
    whole = Restorer.restore

    def fail_on_a(self, image, *how):
        if image.shape[1] == 50:
            raise RuntimeError("delegate failed")
        return whole(self, image, *how)

    monkeypatch.setattr(Restorer, "restore", fail_on_a)
    code, out, _ = call(capsys, "restore", run.folder, tmp_path / "in", "--out", tmp_path / "out")
    assert code == 1
    assert "a.png: delegate failed" in out.splitlines()[-1]
    assert tree(tmp_path / "out") == ["b.png"]


def test_of_several_pictures_what_was_done_is_said_once(capsys, tmp_path, run):
    # A folder of thousands printed thousands of lines. Notes are counted too.
    for seed, name in enumerate(("a.png", "b.png", "c.bmp")):
        write_noise(tmp_path / "in" / name, seed=seed, mode="L")
    (tmp_path / "in" / "d.png").write_bytes(b"no picture")
    code, out, _ = call(capsys, "restore", run.folder, tmp_path / "in", "--out", tmp_path / "out")
    engine, failed, summary, *rest = out.splitlines()
    assert engine.startswith("engine: TensorFlow, float32, ")
    assert failed.endswith("d.png: FAILED")
    assert summary.startswith("3 of 4 pictures were restored, 0.0 megapixels in ")
    assert re.search(r": [\d.]+ pictures/s, \d+\.\d\d megapixels/s$", summary)
    assert (code, len(rest)) == (1, 2)
    assert "\r" not in out


def test_every_ten_seconds_a_file_hears_how_far_it_is(capsys, tmp_path, run, monkeypatch):
    monkeypatch.setattr(in_turn, "REPORT_S", 0.0)
    for seed, name in enumerate(("a.png", "b.png")):
        write_noise(tmp_path / "in" / name, seed=seed)
    out = does(capsys, "restore", run.folder, tmp_path / "in", "--out", tmp_path / "out")
    assert re.search(r"\n[01] of 2 pictures are done, [\d.]+ megapixels/s, \d+ s left\n", out)


def test_a_terminal_sees_one_bar_for_the_whole_folder(capsys, tmp_path, run, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for seed, name in enumerate(("a.png", "b.png")):
        write_noise(tmp_path / "in" / name, seed=seed)
    out = does(capsys, "restore", run.folder, tmp_path / "in", "--out", tmp_path / "out")
    assert re.search(r"\r\033\[K\[[01]/2\] [\d.]+ megapixels/s [#.]+ +\d+%  \d+ s left", out)
    assert "\r\033[K2 of 2 pictures were restored" in out


def test_the_next_picture_is_read_while_one_is_restored_and_no_more(monkeypatch):
    # One waits, and one is in the reader's hands; larger ones come in alone.
    events, jobs = (
        [],
        [image_files.Job(pathlib.Path(str(n)), pathlib.Path(f"o{n}")) for n in range(6)],
    )
    second = threading.Event()

    def read(job):
        events.append(("read", job.source.name))
        if job.source.name == "1":
            second.set()
        return job

    def restore_picture(job, progress):
        assert second.wait(60)
        time.sleep(0.05)
        events.append(("restored", job.source.name))
        return job

    def write(job):
        if job.source.name == "3":
            raise OSError("disk full")
        events.append(("written", job.source.name))
        return in_turn.Told(1, (), "")

    steps = in_turn.Steps(lambda job: 1, read, restore_picture, write)
    reasons = in_turn.restore_in_turn(steps, jobs, lambda line: None)
    assert reasons == {jobs[3].target: "disk full"}
    assert [name for what, name in events if what == "restored"] == [*"012345"]
    assert [name for what, name in events if what == "written"] == [*"01245"]
    assert events.index(("read", "1")) < events.index(("restored", "0"))
    for number in range(6):
        before = events[: events.index(("restored", str(number)))]
        assert sum(what == "read" for what, _ in before) <= number + 3
    # Pictures as large as all the room are in memory one by one.
    second.set()
    events.clear()
    steps = dataclasses.replace(steps, measure=lambda job: 10**12)
    in_turn.restore_in_turn(steps, jobs[:3], lambda line: None)
    assert [what for what, _ in events] == ["read", "restored", "written"] * 3


def test_a_signal_leaves_no_thread_and_no_half_a_file(monkeypatch):
    def interrupted(job, progress):
        if job.source.name == "2":
            raise KeyboardInterrupt
        return job

    written = []
    jobs = [image_files.Job(pathlib.Path(str(n)), pathlib.Path(f"o{n}")) for n in range(50)]
    told = in_turn.Told(1, (), "")
    steps = in_turn.Steps(
        lambda job: 1, lambda job: job, interrupted, lambda job: written.append(job) or told
    )
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        in_turn.restore_in_turn(steps, jobs, lambda line: None)
    assert threading.active_count() == before
    assert len(written) <= 2


def test_existing_pictures_are_skipped_when_asked(capsys, tmp_path, run):
    write_noise(tmp_path / "in" / "a.png")
    write_noise(tmp_path / "in" / "b.png", seed=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    arguments = (run.folder, tmp_path / "in", "--out", tmp_path / "out")
    out = does(capsys, "restore", *arguments, "--skip-existing")
    assert "1 picture is there already" in out
    assert (tmp_path / "out" / "a.png").read_bytes() == b"mine"
    assert tree(tmp_path / "out") == ["a.png", "b.png"]
    out = does(capsys, "restore", *arguments, "--skip-existing")
    assert "2 pictures are there already" in out
    assert "2 of 2 pictures are there already" in refuses(capsys, "restore", *arguments)
    assert (tmp_path / "out" / "a.png").read_bytes() == b"mine"
    does(capsys, "restore", *arguments, "--overwrite")
    assert (tmp_path / "out" / "a.png").read_bytes() != b"mine"


def test_inputs_are_never_written_over(capsys, tmp_path, run):
    source = write_noise(tmp_path / "in" / "a.png")
    before = source.read_bytes()
    for pictures in (source, tmp_path / "in"):
        message = refuses(capsys, "restore", run.folder, pictures, "--out", tmp_path / "in")
        assert "which is an input: choose another --out" in message
    # Nor through another name of the same folder.
    (tmp_path / "link").symlink_to(tmp_path / "in")
    refuses(capsys, "restore", run.folder, source, "--out", tmp_path / "link")
    assert source.read_bytes() == before
    assert tree(tmp_path / "in") == ["a.png"]


def test_restored_pictures_inside_the_folder_are_no_inputs(capsys, tmp_path, run):
    write_noise(tmp_path / "a.png")
    for _ in range(2):
        does(capsys, "restore", run.folder, tmp_path, "--out", tmp_path / "out", "--overwrite")
    assert tree(tmp_path) == ["a.png", "out/a.png"]


def test_two_pictures_of_one_name_are_refused(capsys, tmp_path, run):
    pair = [write_noise(tmp_path / folder / "a.png") for folder in ("x", "y")]
    message = refuses(capsys, "restore", run.folder, *pair, "--out", tmp_path / "o")
    assert "would both be written to" in message
    assert not (tmp_path / "o").exists()


def test_a_gif_beside_a_png_of_its_name_is_written_beside_it(capsys, tmp_path, run):
    for name in ("a.gif", "a.png"):
        write_noise(tmp_path / "in" / name)
    does(capsys, "restore", run.folder, tmp_path / "in", "--out", tmp_path / "out")
    assert tree(tmp_path / "out") == ["a.gif.png", "a.png"]


def test_depth_transparency_profile_and_exif_reach_the_output(capsys, tmp_path, run):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    options = dict(mode="RGBA", icc_profile=profile, exif=exif)
    source = write_noise(tmp_path / "in" / "a.png", (40, 36), **options)
    write_noise(tmp_path / "in" / "b.jpg", (40, 36), icc_profile=profile, exif=exif)
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 30), np.uint16)
    Image.fromarray(deep).save(tmp_path / "in" / "c.png")
    does(capsys, "restore", run.folder, tmp_path / "in", "--out", tmp_path / "out")
    for name in ("a.png", "b.jpg"):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.size == (36, 40)
            assert image.info["icc_profile"] == profile
            assert (image.getexif()[271], image.getexif()[274]) == ("Maker", 1)
            if name == "a.png":
                alpha = np.asarray(image)[..., 3]
    with Image.open(source) as image:
        np.testing.assert_array_equal(alpha, np.rot90(np.asarray(image)[..., 3], -1))
    from tf_deconv.images.files import read_picture

    assert read_picture(tmp_path / "out" / "c.png", 10**6).bit_depth == 16


def test_transparency_grows_with_the_picture(tmp_path):
    alpha = np.full((4, 5, 1), 65535, np.uint16)
    alpha[:, :2] = 0
    large = picture_job.enlarge(alpha, 3)
    assert large.shape == (12, 15, 1)
    assert large.dtype == np.uint16
    assert large[0, 0, 0] == 0
    assert large[0, -1, 0] == 65535


@pytest.mark.parametrize(
    "name", [b"two words.png", "\N{WOMAN}\N{ARTIST PALETTE}.png".encode(), b"caf\xe9.png"]
)
def test_odd_names_work(tmp_path, run, name):
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    try:
        with open(os.path.join(folder, name), "wb") as stream:
            Image.new("RGB", (20, 20)).save(stream, "PNG")
    except OSError:
        pytest.skip("this file system refuses the name")
    code = main.main(
        ["restore", str(run.folder), str(tmp_path / "in"), "--out", str(tmp_path / "o")]
    )
    assert code == 0
    assert os.listdir(os.fsencode(tmp_path / "o")) == [name]


def test_options_reach_the_restorer(capsys, tmp_path, run, exported):
    source = write_noise(tmp_path / "a.png", (70, 50))
    options = ("--tile-size", 24, "--self-ensemble")
    does(capsys, "restore", run.folder, source, "--out", tmp_path / "out", *options)
    received = reading.read_rgb(tmp_path / "out" / "a.png").astype(int)
    difference = np.abs(received - expected_of(exported, source))
    assert 0 < difference.mean() < 20


def make_broken_saved_model(folder):
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"nothing")


def make_broken_tflite(path):
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "does not exist: expected a run folder"),
        (
            lambda path: path.write_text("no model"),
            "is neither a picture, a film nor a model: expected",
        ),
        (lambda path: path.write_bytes(b"PK no zip"), "is not a Keras model"),
        (make_broken_saved_model, "is not a SavedModel of pictures"),
        (make_broken_tflite, "is not a TFLite file"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(capsys, tmp_path, make, expected):
    source = write_noise(tmp_path / "a.png")
    make(tmp_path / "model")
    message = refuses(capsys, "restore", tmp_path / "model", source, "--out", tmp_path / "out")
    assert expected in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("nowhere.png",), "does not exist: expected pictures"),
        (("empty",), "holds no picture"),
        (("a.png", "--tile-size", "-1"), "--tile-size -1: expected a number from 0 to 65536"),
        (("a.png", "--tile-size", "5"), "--tile-size 5: expected at least 14"),
        (("a.png", "--max-pixels", "x"), "--max-pixels x: expected a whole number"),
        (("a.png", "--out", "a.png/deep"), "cannot be written"),
    ],
)
def test_bad_options_are_refused_in_one_line(capsys, tmp_path, monkeypatch, run, options, expected):
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    assert expected in refuses(capsys, "restore", run.folder, *options)
    assert tree(tmp_path) == ["a.png"]


def test_a_picture_over_the_limit_is_named(capsys, tmp_path, run):
    source = write_noise(tmp_path / "a.png", (40, 36))
    arguments = (run.folder, source, "--out", tmp_path / "out", "--max-pixels", 1000)
    code, out, _ = call(capsys, "restore", *arguments)
    assert code == 1
    assert "40x36 is 1,440 pixels: more than --max-pixels 1000" in out


def test_help_names_every_option_without_tensorflow(repository):
    code = "from tf_deconv.cli.main import main; main(['restore', '--help'])"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    for option in (
        "MODEL",
        "PICTURE",
        "--out",
        "--tile-size",
        "--self-ensemble",
        "--skip-existing",
    ):
        assert option in done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"tensorflow", "keras"}


def test_a_tflite_file_restores_without_a_word_on_stderr(tmp_path, exported):
    # XNNPACK announced itself. From a process of its own: it does so once in each.
    source = write_noise(tmp_path / "x.png")
    small = write_noise(tmp_path / "small.png", (28, 28))  # Another signature.
    code = "import sys; from tf_deconv.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = ["restore", exported.tflite("float32"), source, small, "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    check(exported, source, tmp_path / "out" / "x.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "limit_bytes"),
    [
        ((4001, 3999), 1.2e9),
        pytest.param((10_007, 9_993), 2e9, marks=pytest.mark.exhaustive),
    ],
    ids=["16 megapixels", "100 megapixels"],
)
def test_a_large_picture_takes_little_memory(tmp_path, run, size, limit_bytes):
    Image.new("RGB", size, (90, 120, 150)).save(tmp_path / "large.jpg")
    # Not ru_maxrss, which starts at the peak of the process that started this one.
    code = (
        "import pathlib, sys; from tf_deconv.cli.main import main\n"
        "code = main(['restore', *sys.argv[1:]])\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(status.split('VmHWM:')[1].split()[0]); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, run.folder, tmp_path / "large.jpg", "--out", tmp_path]
    command[-1] = tmp_path / "out"
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    assert int(done.stdout.split()[-1]) * 1024 < limit_bytes
