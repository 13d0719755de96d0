"""What `evaluate` is made of: which task and pictures, the scores, the table and the sheet."""

import json
import math

import numpy as np
import pytest

from tf_deconv.data import patches
from tf_deconv.data.store import PictureStore
from tf_deconv.degradations.tasks import RESTORATIONS, TASKS, find_task
from tf_deconv.evaluation import evaluate, report
from tf_deconv.evaluation.config import EvaluateConfig
from tf_deconv.images import arrays, metrics
from tf_deconv.inference import run_folder
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.training import scores as run_scores
from tf_deconv.utils.options import UserError


def artifact(run=lambda batch: batch, channels_in=3, channels_out=3, scale=1):
    return Artifact(run, channels_in, channels_out, 1, scale, 0)


def triple(name="x", shape=(16, 16, 3), noise=0.1):
    random = np.random.default_rng(0)
    clean = random.random(shape, np.float32)
    degraded = np.clip(clean + noise * random.standard_normal(shape), 0, 1).astype(np.float32)
    return name, degraded, clean


def measured(triples, run=lambda batch: batch, task="denoise", denoiser=None):
    """Measures with a function for a model; returns scores, sheet, failures and lines."""
    failures, lines = [], []
    task = TASKS[task]
    restorer = Restorer(artifact(run, task.channels_in, task.channels_out, task.scale))
    triples = list(triples)
    scores, sheet = evaluate.measure(
        restorer, task, iter(triples), failures, len(triples), denoiser, lines.append
    )
    return scores, sheet, failures, lines


# --- Which task and which pictures.


def test_the_chain_of_training_is_measured_unless_another_is_asked_for():
    known = {"task": "denoise", "training": {"degrade": "noise:0-50", "data": "photos"}}

    def chain(**options):
        return evaluate.choose_task(EvaluateConfig(**options), known)[1].degrade

    assert chain() == "noise:0-50"
    assert chain(degrade="noise:3") == "noise:3"
    assert chain(task="denoise") == "noise:25"
    assert chain(task="deblock") == "jpeg:10-40"


@pytest.mark.parametrize("known", [{}, {"task": "of another time"}, {"task": ["denoise"]}])
def test_a_task_that_is_not_known_is_asked_for(known):
    with pytest.raises(UserError, match="does not tell what it was trained for"):
        evaluate.choose_task(EvaluateConfig(model="m"), known)


def test_the_bundled_photographs_are_only_for_models_trained_on_the_others():
    bundled, folder = ({"training": {"data": data}} for data in ("bundled", "photos"))
    assert evaluate._choose_data(EvaluateConfig(), bundled) == ("bundled", [])
    data, notes = evaluate._choose_data(EvaluateConfig(data="bundled"), folder)
    assert data == "bundled"
    assert "the shipped models were trained on larger copies" in notes[0]
    for known in (folder, {}, {"training": None}):
        with pytest.raises(UserError, match="data=None: expected a folder"):
            evaluate._choose_data(EvaluateConfig(), known)
    data, notes = evaluate._choose_data(EvaluateConfig(data="my/photos"), folder)
    assert data == "my/photos"
    assert "the scores flatter" in notes[0]


@pytest.mark.parametrize("name", RESTORATIONS)
def test_a_model_of_its_own_shape_fits_every_task(name):
    task = TASKS[name]
    own = artifact(None, task.channels_in, task.channels_out, task.scale)
    evaluate.check_fit(own, name, task)
    other = artifact(None, task.channels_in, task.channels_out, task.scale + 7)
    with pytest.raises(UserError, match=f"task='{name}' has .*: no task fits this model"):
        evaluate.check_fit(other, name, task)


@pytest.mark.parametrize("name", RESTORATIONS)
def test_every_task_is_measured(name, bundled):
    task = TASKS[name]
    picture = bundled.validation.picture(0)[90:121, 90:127]
    pictures = [("x", np.concatenate([picture] * (task.source_channels // 3), axis=-1))]
    failures = []
    triples = evaluate.degraded_pictures(PictureStore.of(pictures), task, 0, failures)

    def run(batch):
        colours = batch[..., :3] if batch.shape[-1] == 4 else batch
        large = np.repeat(np.repeat(colours, task.scale, 1), task.scale, 2)
        return metrics.match_channels(large, task.channels_out)

    scores, sheet, failures, _ = measured(triples, run, name)
    assert failures == []
    assert sheet.dtype == np.uint8
    height, width = 31 // task.scale * task.scale, 37 // task.scale * task.scale
    assert scores["pictures"][0]["size"] == f"{width}x{height}"
    if task.scale == 1:
        # The stand-in for a model gives back its input: what doing nothing scores.
        assert scores["output"] == scores["input"]
        assert scores["gain_db"] == 0


def test_a_classical_denoiser_is_for_noise_alone():
    def name(task, degrade=None):
        denoiser = evaluate.choose_classical(find_task(task, degrade))
        return denoiser and denoiser.name

    assert name("denoise") == name("old-photo") == "non-local means"
    assert name("low-light") == "non-local means after an Anscombe transform"
    assert name("denoise", "noise:0-50") == "non-local means"
    for task in ("reconstruct", "inpaint", "super-resolve-x2", "deblock", "deblur"):
        assert name(task) is None
    assert name("denoise", "noise:5 jpeg:40") is None
    assert name("inpaint", "noise:5") is None
    assert name("super-resolve-x2", "noise:5") is None


def test_pictures_smaller_than_the_scale_are_named():
    store = PictureStore.of([("dot.png", np.zeros((2, 9, 3), np.uint8))])
    failures = []
    triples = evaluate.degraded_pictures(store, TASKS["super-resolve-x3"], 0, failures)
    assert list(triples) == []
    assert failures == ["dot.png: 9x2 is smaller than the scale, 3"]


# --- Scores.


def test_scores_are_those_of_the_clipped_picture(rng):
    clean = rng.random((12, 13, 3))
    image = clean + rng.normal(0, 0.5, clean.shape)
    scores, *_ = measured([("a", image, clean)], task="reconstruct")
    clipped = np.clip(image, 0, 1)
    grey, clean_grey = arrays.luminance(clipped), arrays.luminance(clean)
    assert scores["pictures"][0]["input"] == {
        "psnr_db": metrics.psnr_db(clipped, clean),
        "ssim": metrics.ssim(clipped, clean),
        "luminance_psnr_db": metrics.psnr_db(grey, clean_grey),
        "luminance_ssim": metrics.ssim(grey, clean_grey),
        "exact": False,
    }


@pytest.mark.parametrize(("name", "channels"), [("denoise-grey", 1), ("reconstruct", 3)])
def test_training_and_evaluate_tell_the_same_figures_of_the_same_pictures(rng, name, channels):
    # evaluation.json took Y of 16 to 235 against a peak of 255: 1.32 dB more than metrics.json.
    clean = rng.random((12, 13, channels), np.float32)
    image = np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
    samples = run_folder.Samples(
        calibration=image[None], degraded=(image,), clean=(clean,), names=("a",)
    )
    of_training = run_scores.evaluate(lambda picture: 0.9 * picture, samples, TASKS[name])
    scores, *_ = measured([("a", image, clean)], lambda x: 0.9 * x, name)
    for side in ("input", "output"):
        for key, value in of_training[side].items():
            assert scores[side][key] == pytest.approx(value, rel=1e-6)


def test_a_picture_to_which_no_step_of_a_chain_happened_is_no_part_of_the_mean():
    # Rounded to 8 bits again, it differed in the last bit of float32: its 167 dB, a twentieth of
    # the pictures of `photo`, raised the mean of the input by 7 dB; in training one that was equal
    # made it infinite.
    task = find_task("denoise", "noise:25@0.5 clip:1")
    pictures = np.random.default_rng(1).integers(0, 256, (8, 16, 16, 3), np.uint8)
    pairs = [patches.degrade_picture(picture, task, 7 + n) for n, picture in enumerate(pictures)]
    noisy = [pair for pair in pairs if metrics.psnr_db(*pair) < 50]
    assert 0 < len(noisy) < len(pairs)
    expected = np.mean([metrics.psnr_db(*pair) for pair in noisy])

    triples = [(str(n), *pair) for n, pair in enumerate(pairs)]
    scores, *_ = measured(triples, lambda x: 0.9 * x)
    assert scores["input"]["psnr_db"] == pytest.approx(expected)
    assert scores["input"]["exact_pictures"] == len(pairs) - len(noisy)

    degraded, clean = zip(*pairs)
    samples = run_folder.Samples(pictures[:1], degraded, clean, tuple("abcdefgh"))
    of_training = run_scores.evaluate(lambda picture: 0.9 * picture, samples, task)
    assert of_training["input"]["psnr_db"] == pytest.approx(expected)
    assert run_scores.undamaged_lines(of_training["pictures"]) == [
        f"the mean PSNR of the input leaves out {len(pairs) - len(noisy)} of 8 that came undamaged"
    ]
    assert run_scores.undamaged_lines([]) == []


def test_a_model_that_fails_on_one_picture_is_named_and_the_rest_goes_on():
    def run(batch):
        if batch.shape[2] == 10:
            raise RuntimeError("delegate failed")
        return batch

    triples = [triple("a"), triple("b", (12, 10, 3)), triple("c")]
    scores, _, failures, lines = measured(triples, run)
    assert [picture["name"] for picture in scores["pictures"]] == ["a", "c"]
    assert failures == ["b: delegate failed"]
    assert lines[-1].startswith("mean of 2")


def test_without_any_picture_there_is_no_sheet():
    scores, sheet, _, lines = measured([])
    assert (scores["pictures"], sheet, lines) == ([], None, [])


def test_infinite_decibels_read_exact_and_are_null_in_json(tmp_path):
    from tf_deconv.utils.files import json_text

    name, _, clean = triple()
    triples = [(name, clean, clean), triple("noisy")]
    scores, sheet, _, lines = measured(triples, task="reconstruct")
    assert sheet is not None
    assert lines[2].split()[2:5] == ["exact", "exact", "+0.00"]
    assert "exact: equal to the target, as 1 inputs and 1 outputs are" in lines[-1]
    # Infinity is left out of the mean, which is then that of the other picture.
    assert scores["input"]["psnr_db"] == scores["pictures"][1]["input"]["psnr_db"]
    stored = json.loads(json_text(scores))
    assert stored["pictures"][0]["input"] == {
        "psnr_db": None,
        "ssim": pytest.approx(1),
        "luminance_psnr_db": None,
        "luminance_ssim": pytest.approx(1),
        "exact": True,
    }


def test_a_gain_over_an_exact_input_has_no_number():
    name, _, clean = triple()
    scores, _, _, lines = measured([(name, clean, clean)], lambda x: 0.9 * x, "reconstruct")
    assert lines[2].split()[2:5] == ["exact", f"{scores['output']['psnr_db']:.2f}", "-"]
    assert scores["gain_db"] == -math.inf
    assert scores["input"]["exact_pictures"] == 1


def test_a_broken_network_gives_dashes_and_a_sheet():
    scores, sheet, failures, lines = measured([triple()], lambda x: np.full_like(x, np.nan))
    assert failures == []
    assert sheet is not None
    assert math.isnan(scores["output"]["psnr_db"])
    assert lines[2].split()[3:5] == ["-", "-"]


# --- Table and sheet.


def test_columns_are_aligned_whatever_the_name():
    triples = [triple("a"), triple("a very long name of a picture.png"), triple("c", (8, 8, 3))]
    denoiser = evaluate.Classical("flat", lambda degraded, clean: 0 * degraded)
    _, _, _, lines = measured(triples, denoiser=denoiser)
    assert len({len(line) for line in lines}) == 1
    assert lines[3].startswith("...me of a picture.png ")
    assert lines[1].split()[2:6] == ["input", "classic", "output", "gain"]


def test_the_sheet_keeps_the_best_and_the_worst():
    extremes = report.Extremes()
    image = np.zeros((8, 8, 3), np.float32)
    gains = [3.0, -1.0, 9.0, math.nan, 5.0, 4.0, -math.inf, 0.0, 8.0, 1.0]
    for number, gain in enumerate(gains):
        scores = {"input": {"psnr_db": 20.0}, "output": {"psnr_db": 20.0 + gain}}
        picture = {"name": f"p{number}", **scores, "gain_db": gain}
        extremes.offer(picture, {"input": image, "output": image}, image)
    captions = [texts[0].split(":")[0] for _, _, texts in extremes._kept]
    assert captions == ["p2", "p8", "p4", "p1", "p6", "p3"]
    assert extremes.sheet(10).shape[0] == 6 * (256 + 24)


def test_small_and_narrow_pictures_fill_their_place_on_the_sheet():
    image = np.zeros((28, 14, 1), np.float32)
    shown = report._for_sheet(image)
    assert shown.shape == (252, 256, 3)
    assert (shown[:, :126] == 0).all()
    assert (shown[:, 126:] == 1).all()
    assert report._for_sheet(np.zeros((900, 700, 3))).shape == (256, 256, 3)
