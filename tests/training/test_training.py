"""Whole runs of the tasks that bring their own pictures: pairs, and noisy pictures alone."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import gates
from tests.fixtures.picture_folders import write
from tf_deconv.cli.parser import make_parser
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.pipeline import export
from tf_deconv.inference import run_folder
from tf_deconv.training import pretrained, trainer
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils.options import UserError

TINY = dict(epochs=1, steps_per_epoch=2, batch_size=4, patch_size=16)


@pytest.fixture
def folders(tmp_path, rng):
    """Smooth pictures, and noisy ones of the same names."""
    inputs, targets = tmp_path / "noisy", tmp_path / "clean"
    for folder in (inputs, targets):
        folder.mkdir()
    for number in range(5):
        clean = np.linspace(20, 200 + number, 80 * 90 * 3).reshape(80, 90, 3)
        noisy = np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255)
        Image.fromarray(clean.astype(np.uint8)).save(targets / f"{number}.png")
        Image.fromarray(noisy.astype(np.uint8)).save(inputs / f"{number}.png")
    return inputs, targets


def train(tmp_path, **options):
    lines = []
    config = TrainConfig(run_dir=str(tmp_path / "run"), **{**TINY, **options})
    return trainer.train(config, report=lines.append), lines


def test_a_paired_run_scores_the_inputs_beside_the_outputs(tmp_path, folders):
    inputs, targets = map(str, folders)
    result, _ = train(tmp_path, task="paired", data=inputs, targets=targets)
    assert 19 < result.metrics["input"]["psnr_db"] < 22  # sigma 25 of 255 is 20.2 dB.
    assert result.metrics["output"]["psnr_db"] > 0
    # Names of the folders, not paths: the description is published.
    description = run_folder.read_description(result.run_dir / run_folder.MODEL_FILE)
    assert (description["training"]["data"], description["training"]["targets"]) == (
        "noisy",
        "clean",
    )


def test_a_run_that_began_with_another_tells_both_commands_whole(tmp_path, folders, gate_here):
    unet = dict(network="unet", size="tiny", task="denoise", data=str(folders[1]))
    first, _ = train(tmp_path / "1", degrade="awgn:0-55 clip:0.25", **unet)
    second, lines = train(tmp_path / "2", init=str(first.run_dir), seed=0, ema=0.5, **unet)
    (line,) = (line for line in lines if line.startswith("init: "))
    copied, _, count = line.removeprefix("init: ").split()[:3]
    assert copied == count
    config = ExportConfig(
        *(str(second.run_dir), str(tmp_path), "model"),
        variants="float32",
        sizes="32",
        license="CC0-1.0",
    )
    export(config, report=lines.append)
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["license"].startswith("of the weights: CC0-1.0")
    assert manifest["began_with"]["training"]["degrade"] == "awgn:0-55 clip:0.25"
    card = (tmp_path / "model" / "README.md").read_text()
    commands = [line for line in card.splitlines() if line.startswith("python train.py --")]
    assert len(commands) == 2
    assert "Each run began with the one above it" in card
    assert re.search(r"^Training took \d+ \+ \d+ (seconds|minutes) on CPU .*\.$", card, re.M)
    assert "--degrade awgn:0-55 clip:0.25 " in commands[0]
    assert "--init run " in commands[1]
    for command in commands:  # 0 equals False, and was left out.
        assert "--seed 0" in command
        options = vars(make_parser().parse_args(["train", *command.split()[2:]]))
        assert options["seed"] == 0  # The card's line is one that the program takes.


def resume_for_an_epoch_more(folder, lines):
    config = json.loads((folder / "config.json").read_text())
    config["epochs"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    return trainer.train(TrainConfig(run_dir=str(folder), resume=True), report=lines.append)


def test_a_run_goes_on_without_the_model_that_it_began_with(tmp_path, folders):
    # --resume opened the model of --init again, though its weights are in the checkpoint.
    small = dict(task="denoise", data=str(folders[1]))
    first, _ = train(tmp_path / "1", **small)
    second, lines = train(tmp_path / "2", init=str(first.run_dir), **small)
    before = run_folder.read_description(second.run_dir / run_folder.MODEL_FILE)
    shutil.rmtree(first.run_dir)
    resumed = resume_for_an_epoch_more(second.run_dir, lines)
    assert "resuming after epoch 1" in lines
    after = run_folder.read_description(resumed.run_dir / run_folder.MODEL_FILE)
    assert after["began_with"] == before["began_with"] != {}
    assert after["training"]["init"] == "run"
    # The better of two epochs may be the first, whose file stays: the last one's tells it too.
    given = TrainConfig(init=str(first.run_dir))
    start = trainer._open_start(given, resumed.run_dir, goes_on=True)
    assert (start.name, start.facts) == ("run", before["began_with"])


def test_a_run_that_stopped_before_its_first_checkpoint_begins_with_its_model_again(
    tmp_path, folders
):
    small = dict(task="denoise", data=str(folders[1]))
    first, _ = train(tmp_path / "1", **small)
    second, lines = train(tmp_path / "2", init=str(first.run_dir), **small)
    shutil.rmtree(second.run_dir / "checkpoints")
    (second.run_dir / run_folder.MODEL_FILE).unlink()
    del lines[:]
    resume_for_an_epoch_more(second.run_dir, lines)
    assert any(line.startswith("init: ") for line in lines)
    shutil.rmtree(second.run_dir / "checkpoints")
    shutil.rmtree(first.run_dir)
    with pytest.raises(UserError, match="does not exist"):
        resume_for_an_epoch_more(second.run_dir, lines)


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory):
    """A run, and its export."""
    folder = tmp_path_factory.mktemp("denoiser")
    ramps = [np.linspace(20, end, 80 * 90 * 3).reshape(80, 90, 3) for end in (200, 220, 240)]
    data = str(write(folder / "pictures", [ramp.astype(np.uint8) for ramp in ramps]))
    result, _ = train(folder / "1", network="unet", size="tiny", task="denoise", data=data)
    config = ExportConfig(str(result.run_dir), str(folder), "model", variants="float32", sizes="32")
    with gates.in_this_process():
        export(config, report=lambda line: None)
    return result.run_dir, folder / "model"


def test_training_begins_with_an_export_as_with_its_run(denoiser):
    run, exported = denoiser
    of_run, of_export = pretrained.open_start(str(run)), pretrained.open_start(str(exported))
    pairs = zip(of_run.model.get_weights(), of_export.model.get_weights(), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
    assert of_run.facts == of_export.facts
    assert of_export.facts["training"]["task"] == "denoise"
    assert (of_run.name, of_export.name) == ("run", "model")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "1"), "saved_model.pb' is missing"),
        (
            lambda folder: (folder / "manifest.json").unlink(),
            "expected a run folder, a .keras file",
        ),
        (lambda folder: alter(folder, size="base"), "training cannot begin with"),
        (lambda folder: alter(folder, size="huge"), "training cannot begin with"),
        (lambda folder: alter(folder, more=1), "training cannot begin with .*more"),
        (
            lambda folder: next((folder / "1" / "variables").glob("*data*")).write_bytes(b"x"),
            "checksum",
        ),
    ],
    ids=["no SavedModel", "no manifest", "another network", "no size", "a newer version", "damage"],
)
def test_an_export_that_is_not_whole_is_no_start(denoiser, tmp_path, damage, message):
    folder = shutil.copytree(denoiser[1], tmp_path / "model")
    damage(folder)
    with pytest.raises(UserError, match=message):
        pretrained.open_start(str(folder))


def alter(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["training"] |= changes
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.slow
@pytest.mark.parametrize("network", [pytest.param("article", marks=pytest.mark.exhaustive), "unet"])
def test_a_run_without_clean_pictures_claims_no_score_and_exports(
    tmp_path, folders, network, gate_here
):
    result, lines = train(
        tmp_path, task="denoise", data=str(folders[0]), self_supervised=True, network=network
    )
    assert "no scores: there are no clean pictures to compare with" in lines
    assert "output" not in result.metrics
    assert np.isfinite(result.metrics["best_val_psnr_db"])
    samples = run_folder.load_samples(result.run_dir / run_folder.SAMPLES_FILE)
    assert samples.clean == ()
    assert len(samples.degraded) == len(samples.names) > 0
    with Image.open(result.run_dir / "preview.png") as preview:
        assert preview.width < 2 * 90 + 30  # Input and output; there is no target to show.

    # One variant that needs calibration pictures, and one that does not.
    options = dict(sizes="64", variants="float32 int8")
    config = ExportConfig(model=str(result.run_dir), out=str(tmp_path / "out"), **options)
    exported = export(config, report=lines.append)
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    assert all(entry["task_psnr_db"] is None for entry in manifest["files"])
    assert manifest["training"]["self_supervised"] is True
