"""Options that need the tables of tasks and networks."""

import pytest

from tf_deconv.degradations.tasks import RESTORATIONS, TASKS
from tf_deconv.networks.table import NETWORKS
from tf_deconv.training.config import TrainConfig, check_train_config
from tf_deconv.utils.options import UserError

RESTORING = [name for name, network in NETWORKS.items() if not network.generates]
# What keeps a picture's size and channels can be done to each frame of a film.
OF_FILMS = ("reconstruct", "denoise", "denoise-grey", "low-light", "deblock", "deblur")


@pytest.mark.parametrize("network", RESTORING)
@pytest.mark.parametrize("task", RESTORATIONS)
def test_the_default_patch_size_fits_every_task_and_network(task, network):
    if NETWORKS[network].frames and task not in (*OF_FILMS, "deblur-motion"):
        pytest.skip("a network for films does not take this task")
    folders = dict(data="in", targets="out") if TASKS[task].paired else {}
    config = check_train_config(TrainConfig(task=task, network=network, **folders))
    assert config.patch_size % (NETWORKS[network].divisor * TASKS[task].scale) == 0
    own = NETWORKS[network].patch_size
    assert own <= config.patch_size < own + NETWORKS[network].divisor * TASKS[task].scale


def test_the_default_patch_size_is_the_articles():
    assert check_train_config(TrainConfig()).patch_size == 28


@pytest.mark.parametrize("network", NETWORKS)
def test_what_the_network_decides_is_filled_in_unless_the_user_decides(network):
    entry = NETWORKS[network]
    task = dict(task="generate", data="in") if entry.generates else {}
    task = dict(task="denoise") if entry.frames else task
    config = check_train_config(TrainConfig(network=network, **task))
    assert (config.batch_size, config.learning_rate) == (entry.batch_size, entry.learning_rate)
    assert config.size == (entry.sizes[0] if entry.sizes else None)
    config = check_train_config(
        TrainConfig(network=network, batch_size=5, learning_rate=0.5, **task)
    )
    assert (config.batch_size, config.learning_rate) == (5, 0.5)


def test_only_what_guesses_colours_from_grey_is_compared_in_luminance_first():
    losses = {
        (task, network): check_train_config(TrainConfig(task=task, network=network)).loss
        for task in ("old-photo", "colorize", "denoise", "denoise-grey")
        for network in ("article", "unet")
    }
    assert {pair for pair, loss in losses.items() if loss == "luminance"} == {
        ("old-photo", "article"),
        ("colorize", "article"),
    }
    assert check_train_config(TrainConfig(loss="mse")).loss == "mse"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "paired"}, "task 'paired' with data='bundled' and targets=None: expected two"),
        ({"task": "paired", "data": "in"}, "targets=None: expected two folders"),
        ({"targets": "out"}, "targets='out' with task 'old-photo', which makes its inputs"),
        (
            {"self_supervised": True},
            "self_supervised=True with task 'old-photo': expected",
        ),
        (
            {"task": "denoise-grey", "degrade": "balance:2 noise:5 mosaic:1@0.5"},
            "which sees grey pictures: expected no balance or mosaic, which changes colours alone",
        ),
        (
            {"self_supervised": True, "task": "denoise", "degrade": "noise:5"},
            "degrade='noise:5' with self_supervised",
        ),
        (
            {"self_supervised": True, "task": "denoise", "loss": "ms-ssim"},
            "loss='ms-ssim' with self_supervised",
        ),
        (
            {"self_supervised": True, "task": "denoise", "loss": "psnr"},
            "loss='psnr' with self_supervised",
        ),
        (
            {"validation_fraction": 0.3},
            "validation_fraction=0.3 with data='bundled', of which the same 12 pictures are always",
        ),
        ({"size": "tiny"}, "network 'article' has one size only"),
        ({"size": "smal", "network": "unet"}, "size='smal' .did you mean 'small'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        check_train_config(TrainConfig(**options))


def test_all_contradictions_are_told_together():
    with pytest.raises(UserError, match=r"targets=.*; self_supervised.*; size=.*; patch_size="):
        check_train_config(
            TrainConfig(targets="x", self_supervised=True, size="tiny", patch_size=27)
        )


def test_a_patch_size_that_does_not_fit_names_the_nearest():
    with pytest.raises(UserError, match=r"multiple of 6 .* 24 or 30 would do"):
        check_train_config(TrainConfig(task="super-resolve-x3", patch_size=28))


def test_a_wrong_chain_is_refused_before_anything_is_loaded():
    with pytest.raises(UserError, match="did you mean 'noise'"):
        check_train_config(TrainConfig(task="denoise", degrade="nose:3"))


def test_a_share_held_out_is_taken_of_a_folder_and_the_usual_one_of_the_bundled_pictures():
    folder = TrainConfig(data="in", validation_fraction=0.3)
    assert check_train_config(folder).validation_fraction == 0.3
    assert check_train_config(TrainConfig(validation_fraction=0.1)).validation_fraction == 0.1
