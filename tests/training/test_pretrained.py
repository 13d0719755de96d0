"""Weights from one network into another: --init."""

import dataclasses

import numpy as np
import pytest

from tf_deconv.exporting.model_card import origin
from tf_deconv.inference import run_folder
from tf_deconv.networks.article import build_article
from tf_deconv.networks.unet import build_unet
from tf_deconv.networks.video import build_video
from tf_deconv.training.config import TrainConfig, check_train_config, take_from_init
from tf_deconv.training.pretrained import Start, begin_with, copy_weights, join, train_only
from tf_deconv.utils.options import UserError


def filled(seed=0, **options):
    model = build_unet(**options)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.1, weight.shape).astype("f"))
    return model


def test_a_network_of_the_same_shape_becomes_equal(rng):
    source, target = filled(size="tiny"), filled(1, size="tiny")
    assert copy_weights(source, target) == []
    image = rng.random((1, 8, 12, 3), np.float32)
    np.testing.assert_array_equal(target(image), source(image))


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_grey_becomes_colour_that_does_the_same_to_grey_pictures(rng, size):
    source = filled(size=size, channels_in=1, channels_out=1)
    target = filled(1, size=size)
    assert copy_weights(source, target) == []
    grey = rng.random((1, 8, 12, 1), np.float32)
    expected = np.repeat(source(grey), 3, -1)
    np.testing.assert_allclose(
        target(grey.repeat(3, -1)), expected, rtol=1e-3, atol=1e-4 * np.std(expected)
    )


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_colour_becomes_grey_that_is_its_mean_over_channels(rng, size):
    source = filled(size=size)
    target = filled(1, size=size, channels_in=1, channels_out=1)
    assert copy_weights(source, target) == []
    grey = rng.random((1, 8, 12, 1), np.float32)
    expected = np.mean(source(grey.repeat(3, -1)), axis=-1, keepdims=True)
    np.testing.assert_allclose(target(grey), expected, rtol=1e-3, atol=1e-4 * np.std(expected))


def test_what_has_no_counterpart_is_named_and_keeps_its_value():
    source, target = filled(size="base"), filled(1, size="base", scale=2)
    before = {weight.path: weight.numpy() for weight in target.weights}
    left = copy_weights(source, target)
    # Of a network that enlarges the head works at the picture's own resolution.
    assert set(left) == {"head/kernel", "repeated/kernel"}
    for weight in target.weights:
        if weight.path in left:
            np.testing.assert_array_equal(weight.numpy(), before[weight.path])


def test_another_kind_of_network_shares_nothing():
    target = filled(size="tiny")
    assert len(copy_weights(build_article(), target)) == len(target.weights)


PHOTO = {"network": "unet", "size": "tiny", "filters": None, "blocks": None}


def test_a_network_that_fits_is_told_and_one_that_does_not_is_named():
    start = Start("photo", filled(size="tiny"), {"training": PHOTO})
    assert begin_with(filled(1, size="tiny"), start, TrainConfig(**PHOTO)) == [
        "network: unet tiny, as photo",
        f"init: {len(start.model.weights)} of {len(start.model.weights)} weights copied",
    ]
    with pytest.raises(UserError, match="expected network='unet' and size='tiny', as it has"):
        begin_with(build_article(), start, TrainConfig(network="article"))
    other = TrainConfig(**{**PHOTO, "size": "small"})
    note, _ = begin_with(filled(1, size="small"), start, other)
    assert note == "note: photo is --network unet --size tiny, which this training is not"


def test_blocks_that_bend_otherwise_are_told():
    start = Start("photo", filled(size="tiny"), {"training": PHOTO})
    config = TrainConfig(**{**PHOTO, "relu": "twice"})
    note, copied = begin_with(filled(1, size="tiny", relu_twice=True), start, config)
    assert note.startswith("note: blocks of photo have a ReLU once, those of this training twice:")
    assert copied.startswith("init: ")
    assert "anew" not in copied
    start = Start(
        "own", filled(size="tiny", relu_twice=True), {"training": {**PHOTO, "relu": "twice"}}
    )
    told, _ = begin_with(filled(1, size="tiny", relu_twice=True), start, config)
    assert told == "network: unet tiny, two ReLUs in a block, as own"
    note, *_ = begin_with(filled(1, size="tiny"), start, TrainConfig(**PHOTO))
    assert note.startswith("note: blocks of own have a ReLU twice, those of this training once:")


@pytest.mark.parametrize("reparameterize", [False, True])
def test_a_deeper_network_begins_as_the_trained_one(rng, reparameterize):
    start = Start("photo", filled(size="tiny"), {"training": PHOTO})
    options = {"size": "tiny", "blocks": (2, 1, 3)}
    deeper = build_unet(**options, reparameterize=reparameterize)
    config = TrainConfig(**{**PHOTO, "blocks": "2,1,3"})
    *_, told = begin_with(deeper, start, config)
    new = "encoder_1_block_2, bottom_block_2, bottom_block_3, decoder_1_block_2"
    assert told == f"init: these blocks are new and change nothing yet: {new}"
    image = rng.random((1, 8, 12, 3), np.float32)
    expected = start.model(image)
    np.testing.assert_allclose(deeper(image), expected, atol=1e-5 * np.std(expected))
    # All but the last kernel is as it is in any other network, or nothing would be learned.
    assert np.std(deeper.get_layer("bottom_block_2_conv_1").kernel) > 0


def test_the_network_is_that_of_the_model_where_none_is_named(untrained, tmp_path):
    # --init photo alone began to train the article's network, which shares no layer with it.
    path = tmp_path / "model.keras"
    model = filled(size="tiny")
    run_folder.save_model(model, path, dict(task="denoise", network="unet", training=PHOTO))
    given = TrainConfig(task="denoise", init=str(path))
    taken = check_train_config(take_from_init(given))
    assert (taken.network, taken.size, taken.patch_size) == ("unet", "tiny", 64)
    assert take_from_init(taken) == taken
    bent = tmp_path / "bent.keras"
    known = dict(task="denoise", network="unet", training={**PHOTO, "relu": "twice"})
    run_folder.save_model(filled(size="tiny", relu_twice=True), bent, known)
    assert take_from_init(dataclasses.replace(given, init=str(bent))).relu == "twice"
    for left_alone in (
        dataclasses.replace(given, size="base"),
        dataclasses.replace(given, network="article"),
        dataclasses.replace(given, init=str(untrained)),  # It tells nothing of its training.
        dataclasses.replace(given, resume=True),
        dataclasses.replace(given, init=None),
        TrainConfig(task="generate", init=str(path)),
    ):
        assert take_from_init(left_alone) == left_alone
    with pytest.raises(UserError, match="does not exist"):
        take_from_init(dataclasses.replace(given, init="./nowhere"))


def test_a_second_model_fills_what_the_first_has_not_and_is_told():
    # The first is a U-Net of pictures, the second has its layers too and what a film's adds.
    first = Start("photo", filled(filters=(8, 16), blocks=(1, 1), space_to_depth=True), {})
    rest = build_video(size="tiny")
    rest.get_layer("seen").kernel.assign(rest.get_layer("seen").kernel + 1)
    facts = {"training": {"seed": 1}, "began_with": {"training": {"seed": 2}}}
    first = dataclasses.replace(first, facts=facts)
    joined = join(first, Start("fusion", rest, {"training": {"seed": 3}}))
    assert joined.name == "photo"
    assert joined.facts["began_with"]["began_with"] == {"training": {"seed": 3}}
    assert "began_with" not in facts["began_with"]
    target = build_video(size="tiny")
    config = TrainConfig(network="video", size="tiny")
    count = len(target.trainable_weights)
    assert begin_with(target, joined, config)[-1] == f"init: {count} of {count} weights copied"
    for name, model in (("head", first.model), ("seen", rest)):
        np.testing.assert_array_equal(target.get_layer(name).kernel, model.get_layer(name).kernel)


def test_models_that_add_nothing_are_refused():
    picture = Start("photo", filled(filters=(8, 16), blocks=(1, 1), space_to_depth=True), {})
    film, config = build_video(size="tiny"), TrainConfig(network="video", init_rest="twin")
    with pytest.raises(UserError, match="init_rest='twin' has no layer that init='photo' has not"):
        begin_with(build_video(size="tiny"), join(picture, picture), config)
    other = Start("article", build_article(), {})
    with pytest.raises(UserError, match="init='article' shares no layer with network='video'"):
        begin_with(film, join(other, picture), config)


def test_models_that_tell_nothing_leave_no_stage_behind():
    told, silent = Start("a", None, {"training": {"seed": 1}}), Start("b", None, {})
    assert join(told, silent).facts == join(silent, told).facts == told.facts
    assert join(silent, silent).facts == {}


def test_the_card_tells_where_the_runs_of_both_models_stand():
    run = dict(network="video", task="denoise", trained_on="CPU", data_sha256="0")
    facts = join(Start("photo", None, {"training": {"seed": 2}}), Start("f", None, {})).facts
    joined = join(Start("photo", None, facts), Start("f", None, {"training": {"seed": 3}})).facts
    plain = origin(run | {"training": {"seed": 1, "init": "photo"}, "began_with": facts})
    both = origin(run | {"training": {"seed": 1, "init_rest": "f"}, "began_with": joined})
    assert "--seed 2\npython train.py --seed 1" in plain
    assert "--seed 3\npython train.py --seed 2\npython train.py --seed 1 --init-rest f" in both
    rest = "the runs of the model that it names come first"
    assert rest in both
    assert rest not in plain


def test_the_card_marks_runs_of_which_the_time_is_not_known():
    run = dict(network="unet", task="denoise", trained_on="CPU", data_sha256="0", training={})
    before = {"training": {"seed": 1}}
    last = run | {"training": {"seed": 2}, "began_with": before}
    assert "Training took" not in origin(last)  # Nothing is known.
    told = origin(last | {"training_s": 600.0})
    assert "Training took ? + 10 minutes on CPU.\nA `?` is a run of which" in told
    before["training_s"] = 60.0
    assert "Training took 1 + 10 minutes on CPU.\nSHA-256" in origin(last | {"training_s": 600.0})


def test_kernels_that_are_not_trained_are_not_shared_out_among_colours():
    colour = build_video(size="tiny")
    fixed = [layer for layer in colour.layers if layer.weights and not layer.trainable]
    before = [layer.kernel.numpy() for layer in fixed]
    left = copy_weights(build_video(size="tiny", channels_in=1, channels_out=1), colour)
    assert "head/kernel" not in left
    for layer, kernel in zip(fixed, before):
        np.testing.assert_array_equal(layer.kernel, kernel)


def test_a_rest_without_a_first_is_refused():
    with pytest.raises(UserError, match="init_rest='photo' without init: expected --init"):
        check_train_config(TrainConfig(network="unet", task="denoise", init_rest="photo"))


def test_only_the_layers_that_are_named_are_trained(rng):
    model = filled(size="tiny")
    every = {weight.path: weight.numpy() for weight in model.weights}
    told = train_only(model, "head, tail")
    assert told == ["trained: head, tail, 432 weights; all others are kept"]
    model.compile("sgd", "mse")
    image = rng.random((2, 8, 12, 3), np.float32)
    model.fit(image, 1 - image, verbose=0)
    changed = {
        weight.path for weight in model.weights if np.any(weight.numpy() != every[weight.path])
    }
    assert changed == {"head/kernel", "tail/kernel"}
    wide = filled(size="tiny", reparameterize=True)
    train_only(wide, "bottom_block_1_conv_1")
    names = {layer.name for layer in wide.layers if layer.trainable_weights}
    assert names == {"bottom_block_1_conv_1", "bottom_block_1_conv_1_point"}
    with pytest.raises(UserError, match=r"'nowhere' cannot be trained in this network; .* head, "):
        train_only(filled(size="tiny"), "head,nowhere")
