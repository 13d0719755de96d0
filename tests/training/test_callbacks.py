"""What a person sees of a training: preview, TensorBoard, curve and lines, epoch after epoch."""

import csv
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tf_deconv.degradations import baseline, operators
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.inference import restorer, run_folder
from tf_deconv.training import callbacks, losses, restoration, scores
from tf_deconv.training import curve as learning_curve


def read_summaries(folder):
    """Returns {tag: [(step, value)]} of a folder's event files."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return {
        tag: [(event.step, event.tensor_proto) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def read_previews(run_dir):
    """Returns [(step, (H, W, 3) uint8)] of the pictures that TensorBoard would show."""
    previews = []
    for step, value in read_summaries(run_dir / "logs" / "preview")["preview"]:
        width, height, content = value.string_val
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (int(width), int(height))
            previews.append((step, np.asarray(image)))
    return previews


class TinyRun:
    """A training of one weight, with all that `train` hangs on it."""

    def __init__(self, folder, epochs=3, history=()):
        (folder / "checkpoints").mkdir(exist_ok=True)
        self.folder, self.epochs, self.lines, self.seen = folder, epochs, [], []
        self.writer = callbacks.RunWriter(folder, lambda: None, list(history), 0.0, "hash")
        self.pictures = callbacks.Pictures(
            folder, self.draw_preview, self.writer.history, 15.0, self.lines.append
        )

    def draw_preview(self):
        return np.full((20, 30, 3), 10 * len(self.writer.history), np.uint8)

    def fit(self, first_epoch=0):
        model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1)])
        model.compile("sgd", "mse", metrics=[losses.Psnr()], jit_compile=False)
        progress = callbacks.Progress(self.epochs, 2, self.writer.history, self.lines.append)
        look = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: self.seen.append(self.look()))
        x = np.random.default_rng(0).random((4, 4, 4, 1), np.float32)
        model.fit(
            x,
            x,
            batch_size=2,
            epochs=self.epochs,
            initial_epoch=first_epoch,
            validation_data=(x, x),
            callbacks=[self.writer, self.pictures, progress, look],
            verbose=0,
        )
        return self

    def look(self):
        """Returns a pixel of preview.png as it lies there now."""
        with Image.open(self.folder / "preview.png") as image:
            return image.getpixel((0, 0))[0]


def test_the_preview_is_written_anew_each_epoch(tmp_path):
    assert TinyRun(tmp_path).fit().seen == [10, 20, 30]


def test_tensorboard_gets_a_preview_each_epoch_and_goes_on_after_a_resume(tmp_path):
    first = TinyRun(tmp_path, epochs=2).fit()
    TinyRun(tmp_path, epochs=4, history=first.writer.history).fit(first_epoch=2)
    previews = read_previews(tmp_path)
    assert [(step, image[0, 0, 0]) for step, image in previews] == [
        (0, 10),
        (1, 20),
        (2, 30),
        (3, 40),
    ]


def test_each_epoch_is_one_line_with_the_time_left(tmp_path):
    lines = TinyRun(tmp_path, epochs=3).fit().lines
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert [line.endswith(" left") for line in lines] == [True, True, False]


def test_the_history_tells_the_learning_rate(tmp_path):
    TinyRun(tmp_path).fit()
    with open(tmp_path / "history.csv", newline="") as stream:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(stream)]
    assert rates == pytest.approx([0.01] * 3)


def test_a_run_of_a_version_without_learning_rates_can_go_on(tmp_path):
    old = {"epoch": 1, "loss": 1.0, "psnr": 1.0, "val_loss": 1.0, "val_psnr": 1.0}
    run = TinyRun(tmp_path, epochs=2, history=[old]).fit(first_epoch=1)
    run.pictures.write_curve()
    assert run.lines[-1].startswith("epoch 2/2")
    with open(tmp_path / "history.csv", newline="") as stream:
        assert [row["learning_rate"] == "" for row in csv.DictReader(stream)] == [True, False]


def test_a_curve_that_cannot_be_drawn_is_told_and_stops_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no font at all")

    monkeypatch.setattr(learning_curve, "draw_curve", fail)
    run = TinyRun(tmp_path).fit()
    assert "warning: curve.png could not be written: no font at all" in run.lines
    assert len(run.writer.history) == 3
    assert not (tmp_path / "curve.png").exists()


def test_drawing_curves_takes_a_small_share_of_short_epochs(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        learning_curve, "draw_curve", lambda rows, *_: drawn.append(len(rows)) or b"png"
    )
    now = [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    run = TinyRun(tmp_path)
    run.writer.history.append({})
    monkeypatch.setattr(callbacks.time, "monotonic", clock)
    for _ in range(2 * callbacks.CURVE_EVERY_DRAWINGS + 4):
        run.pictures.on_epoch_end(0)
    assert len(drawn) == 2 + 1
    run.pictures.write_curve()  # As at the end of training: whatever the clock says.
    assert len(drawn) == 4


def test_no_curve_without_an_epoch(tmp_path):
    TinyRun(tmp_path).pictures.write_curve()
    assert not (tmp_path / "curve.png").exists()


def test_a_trained_run_has_a_curve_that_opens(run):
    with Image.open(run.folder / "curve.png") as curve:
        assert curve.size == (750, 1000)
        curve.load()


def test_tensorboard_has_a_preview_and_a_learning_rate_of_each_epoch(run):
    assert [step for step, _ in read_previews(run.folder)] == [0, 1]
    summaries = read_summaries(run.folder / "logs" / "train")
    assert [step for step, _ in summaries["epoch_learning_rate"]] == [0, 1]


def test_training_prints_a_line_per_epoch(run):
    lines = [line for line in run.output.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert lines[0].endswith(" left")
    assert "\r" not in run.output
    assert "Epoch 1" not in run.output


def best_epoch(folder):
    with open(folder / "history.csv", newline="") as stream:
        values = [float(row["val_psnr"]) for row in csv.DictReader(stream)]
    return int(np.argmax(values))


def assert_preview_is_of_the_saved_model(folder):
    model, samples = (
        run_folder.load_model(folder),
        run_folder.load_samples(folder / run_folder.SAMPLES_FILE),
    )
    sheets = [
        scores.preview(
            lambda image: restorer.restore_picture(model, image, 2),
            samples,
            TASKS["old-photo"],
            side_px=side_px,
        )
        for side_px in (restoration.EPOCH_PREVIEW_SIDE_PX, 256)
    ]
    with Image.open(folder / "preview.png") as image:
        shown = [dict(read_previews(folder))[best_epoch(folder)], np.asarray(image)]
    for sheet, seen in zip(sheets, shown):
        # One level for a processor that rounds otherwise.
        assert sheet.shape == seen.shape
        assert np.max(np.abs(sheet.astype(int) - seen)) <= 1


def test_the_preview_shows_what_is_saved(run):
    assert_preview_is_of_the_saved_model(run.folder)


@pytest.mark.slow
def test_the_preview_shows_averaged_weights_where_they_are_saved(train, tmp_path):
    # After so few steps averaged and raw weights are far apart.
    folder = tmp_path / "run"
    train("--run-dir", folder, "--epochs", 1, "--steps-per-epoch", 10, "--ema", 0.99)
    assert_preview_is_of_the_saved_model(folder)


def test_doing_nothing_is_scored_as_training_scores_patches():
    clean = np.full((3, 28, 28, 3), 0.5, np.float32)
    degraded = clean[..., :1] + np.array([0.1, 0.01, 0.1], np.float32)[:, None, None, None]
    batches = tf.data.Dataset.from_tensor_slices((degraded, clean)).batch(2)
    # A constant error of 0.1 scores 20 dB, of 0.01 40 dB.
    assert scores.do_nothing_psnr_db(batches, TASKS["old-photo"]) == pytest.approx(
        (20 + 40 + 20) / 3, abs=1e-3
    )


@pytest.mark.parametrize("name", ["old-photo", "inpaint", "super-resolve-x3"])
def test_doing_nothing_to_a_batch_is_doing_nothing_to_each(rng, name):
    task = TASKS[name]
    batch = rng.random((3, 8, 6, task.channels_in), np.float32)
    one_by_one = np.stack([baseline.do_nothing(picture, task) for picture in batch])
    together = baseline.do_nothing(batch, task)
    assert together.shape == (3, 8 * task.scale, 6 * task.scale, task.channels_out)
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)


def test_a_batch_enlarged_is_each_picture_enlarged(rng):
    task = TASKS["super-resolve-x2"]
    batch = rng.random((3, 8, 6, task.channels_in), np.float32)
    for picture, shown in zip(batch, baseline.do_nothing(batch, task)):
        np.testing.assert_allclose(shown, operators.upsample(tf.constant(picture), 2), atol=1e-6)


def test_where_nothing_is_degraded_nothing_is_scored():
    clean = np.random.default_rng(0).random((3, 28, 28, 3), np.float32)
    batches = tf.data.Dataset.from_tensor_slices((clean, clean)).batch(2)
    assert scores.do_nothing_psnr_db(batches, TASKS["reconstruct"]) is None


def test_the_preview_shows_all_degrees_of_damage_and_nothing_undamaged(rng):
    clean = rng.random((24, 24, 3), np.float32)
    noises = [0.0, 0.02, 0.3, 0.0, 0.1, 0.2, 0.05, 0.0]
    noisy = [clean + np.float32(noise) * rng.normal(size=clean.shape) for noise in noises]
    samples = run_folder.Samples(
        calibration=clean[np.newaxis],
        degraded=tuple(each.astype(np.float32) for each in noisy),
        clean=len(noises) * (clean,),
        names=tuple(map(str, noises)),
    )
    asked = []

    def restore(image):
        asked.append(float(np.std(image - clean)))
        return clean

    scores.preview(restore, samples, TASKS["denoise"])
    assert asked == pytest.approx([0.3, 0.1, 0.02], rel=0.2)
