"""A model card tells which pictures a model is for: those with what its training pictures had."""

import pytest

from tests.exporting.test_levels import CONTRACT
from tf_deconv.exporting.manifest import make_manifest
from tf_deconv.exporting.model_card import make_card


def card_of(task, scale=1, **training):
    description = {"task": task, "training": {"task": task, **training} if training else None}
    manifest = make_manifest(
        "m",
        0,
        description,
        {**CONTRACT, "scale": scale},
        reports=[],
        graph_tensors=None,
        license="CC0",
    )
    return " ".join(make_card(manifest, [], False).split())


def test_each_stage_is_told_with_its_levels_and_its_share():
    card = card_of("denoise", degrade="camera@0.5 noise:5-30@0.4 jpeg:80 clip:1", grey=0.15)
    assert "It is for pictures with this damage, or some of it, and has seen no other:" in card
    assert (
        "- the picture taken by a camera drawn by chance: noise, mosaic, development (ISO: 100 to"
        " 12800), 50 % of the pictures"
    ) in card
    assert "(standard deviation in grey levels of 255: 5 to 30), 40 % of the pictures" in card
    assert "- JPEG compression, colour at half size (quality: 80) 15 % were grey" in card
    assert "had none of it" not in card
    assert "8 bits" not in card


def test_what_was_left_undamaged_is_told():
    card = card_of("denoise", degrade="noise:5@0.5 jpeg:50@0.6")
    assert "20 % of the pictures had none of it." in card


def test_without_a_chain_of_its_own_the_tasks_counts():
    assert "JPEG compression, colour at half size (quality: " in card_of("deblock")


@pytest.mark.parametrize("chain", [None, "clip:1"])
def test_what_enlarges_clean_pictures_says_so(chain):
    card = card_of("super-resolve-x2", scale=2, degrade=chain)
    assert "It is for small pictures that are clean." in card


def test_what_enlarges_damaged_pictures_says_so():
    card = card_of("super-resolve-x2", scale=2, degrade="jpeg:50-90")
    assert "pictures that are to be 2 times as wide and high, with this damage" in card


def test_of_noisy_pictures_alone_no_noise_is_told_that_nobody_added():
    # The card told of the task's own noise, sigma 25, of which such a run sees nothing.
    card = card_of("denoise", self_supervised=True)
    assert "a clean one out. It learned from noisy pictures alone, without clean ones" in card
    assert "sigma 25" not in card
    assert "It is for" not in card


def test_a_level_is_told_without_the_remark_on_its_unit():
    assert "curve (slope in the middle: 0.5 to 2)" in card_of("denoise", degrade="tone:0.5-2")


@pytest.mark.parametrize("task", ["paired", "generate", None])
def test_where_nobody_knows_it_is_not_told(task):
    assert "It is for" not in card_of(task)
