"""Options that need the tables of tasks and networks."""

import pytest

from tf_deconv.checks import check_train_config
from tf_deconv.config import TrainConfig, UserError
from tf_deconv.networks import NETWORKS
from tf_deconv.tasks import TASKS


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("task", TASKS)
def test_the_default_patch_size_fits_every_task_and_network(task, network):
    config = check_train_config(TrainConfig(task=task, network=network))
    assert config.patch_size % (NETWORKS[network].divisor * TASKS[task].scale) == 0
    assert 28 <= config.patch_size < 28 + NETWORKS[network].divisor * TASKS[task].scale


def test_the_default_patch_size_is_the_articles():
    assert check_train_config(TrainConfig()).patch_size == 28


def test_a_patch_size_that_does_not_fit_names_the_nearest():
    with pytest.raises(UserError, match=r"multiple of 6 .* 24 or 30 would do"):
        check_train_config(TrainConfig(task="super-resolve-x3", patch_size=28))


def test_a_wrong_chain_is_refused_before_anything_is_loaded():
    with pytest.raises(UserError, match="did you mean 'noise'"):
        check_train_config(TrainConfig(task="denoise", degrade="nose:3"))
