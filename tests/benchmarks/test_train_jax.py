"""Training on JAX from pictures to a run folder, and what `ablation.py` makes of its file."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import ablation
import dead_leaves
import train_jax
import weight_files

from tf_deconv.inference import run_folder
from tf_deconv.utils.options import UserError

BENCHMARKS = pathlib.Path(train_jax.__file__).parent


def needs_jax(test):
    """Marks a test that trains, for minutes: the extra `clients` has jax."""
    missing = importlib.util.find_spec("jax") is None
    test = pytest.mark.skipif(missing, reason="needs jax")(test)
    return pytest.mark.clients(pytest.mark.exhaustive(test))


TINY = ["--gigapixels", "0.00013", "--minutes", "9", "--set", "size=tiny", "patch_size=32"]
TINY += ["batch_size=2", "reparameterize=true", "ema=0.9", 'degrade="awgn:0-55 jpeg:50-90@0.5"']


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of twelve pictures, and its parts for a GPU."""
    folder = tmp_path_factory.mktemp("gpu") / "pictures"
    dead_leaves.write(folder, 12, 96, seed=7)
    words = ["--patch-size", "96", "--validation-fraction", "0.2", "--leaves", "1"]
    out = str(folder.parent / "part")
    command = ["prepare", "--data", str(folder), "--out", out, "--most-mib", "0.4", *words]
    assert train_jax.main(command) == 0
    return folder


def parts(pictures):
    return sorted(map(str, pictures.parent.glob("part-*.npz")))


def test_parts_hold_the_very_pixels_each_below_the_limit(pictures):
    from tf_deconv.data.sources import load_source

    assert len(parts(pictures)) > 1
    assert all(os.path.getsize(part) < 0.41 * 2**20 for part in parts(pictures))
    stored, facts = train_jax.load_pictures(parts(pictures))
    source = load_source(str(pictures), 96, 0.2)
    assert facts["data_sha256"] == source.training.sha256()
    for split, store in (
        (train_jax.TRAINING, source.training),
        (train_jax.VALIDATION, source.validation),
    ):
        ours = {
            stored["pixels"][offset : offset + height * width].tobytes()
            for offset, height, width, own in zip(
                *(stored[name] for name in ("offsets", "heights", "widths", "splits"))
            )
            if own == split
        }
        assert ours == {store.picture(index).tobytes() for index in range(len(store))}
    assert (stored["splits"] == train_jax.LEAVES).sum() == 1


def test_a_missing_part_is_told(pictures):
    with pytest.raises(UserError, match="expected each once"):
        train_jax.load_pictures(parts(pictures)[1:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "bass"], "did you mean 'base'"),
        (["train", "taught", "large"], "expected its teacher 'large' before it"),
        (["train", "leaves"], "prepare with --leaves 100"),
        (["run", "no.npz", "--data", "x"], "expected a file of `train` or"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, message, pictures, capsys):
    data = ["--data", *parts(pictures)] if words[0] == "train" else []
    assert train_jax.main([*words, *data, "--out", "unused"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not pathlib.Path("unused").exists()


@pytest.fixture(scope="module")
def trained(pictures):
    """The folder with what was trained, in a process whose Keras runs on JAX."""
    out = pictures.parent / "out"
    command = [sys.executable, str(BENCHMARKS / "train_jax.py"), "train", "two-stages"]
    command += ["--data", *parts(pictures), "--out", str(out), *TINY]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Gpixel" in done.stdout
    return out


@needs_jax
def test_weights_come_back_as_a_run_that_the_commands_take(pictures, trained, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["run", str(trained / "two-stages.npz"), "--data", str(pictures), "--out", str(run)]
    assert train_jax.main(words) == 0
    output = capsys.readouterr().out
    # The outputs that JAX and TensorFlow make of one patch.
    assert float(output.split("JAX's to ")[1].split()[0]) < 1e-5
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.json", "samples.npz", "history.csv", "curve.png", "preview.png"}
    scores = json.loads((run / "metrics.json").read_text())
    assert scores["output"]["psnr_db"] > scores["input"]["psnr_db"]
    description = run_folder.read_description(run / "model.keras")
    assert description["training"]["init"] == "two-stages, stage 1"
    assert description["began_with"]["training"]["seed"] == 0
    assert description["training"]["degrade"] == "awgn:0-55 jpeg:50-90@0.5"
    model = run_folder.load_model(run)
    assert model.count_params() == 10_896  # The 1x1 convolutions are in the 3x3 ones.
    assert train_jax.main(words) == 2
    assert "exists: choose another --out" in capsys.readouterr().err


@needs_jax
def test_weights_of_another_network_are_refused(pictures, trained, tmp_path, capsys):
    weights, facts = weight_files.load(str(trained / "two-stages.npz"))
    with np.load(trained / "two-stages.npz") as stored:
        checks = {name: stored[name] for name in ("check_input", "check_output")}
    weights["head/kernel"] = 1.1 * weights["head/kernel"]
    weight_files.save(tmp_path / "changed.npz", weights, facts, **checks)
    words = ["run", str(tmp_path / "changed.npz"), "--data", str(pictures)]
    assert train_jax.main([*words, "--out", str(tmp_path / "run")]) == 2
    assert "is not the one that was trained" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@needs_jax
def test_what_a_gpu_trained_stands_in_the_table_once(trained, tmp_path, capsys):
    words = ["add", str(trained / "two-stages.npz"), "--file", str(tmp_path / "lines.jsonl")]
    assert (ablation.main(words), ablation.main(words)) == (0, 0)
    assert "added before" in capsys.readouterr().out
    (line,) = ablation.read_lines(tmp_path / "lines.jsonl")
    assert (line["row"], line["on"], line["seed"]) == ("two-stages", "grey", 0)
    assert line["curve"][-1][1] == line["db"]
    assert "Keras on JAX" in line["device"]
    assert any("two-stages" in text for text in ablation.make_table([line]))
