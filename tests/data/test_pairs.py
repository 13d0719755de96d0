"""Pairs of photographed pictures: matched by name, kept together, split by target."""

import numpy as np
import pytest
from PIL import Image

from tf_deconv.data import patches
from tf_deconv.data.sources import load_source
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.utils.options import UserError

PAIRED = TASKS["paired"]


@pytest.fixture
def folders(tmp_path):
    inputs, targets = tmp_path / "inputs", tmp_path / "targets"
    for folder in (inputs, targets):
        (folder / "sub").mkdir(parents=True)
    return inputs, targets


def save(path, seed, size=(20, 16), value=None):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    if value is not None:
        pixels[:] = value
    Image.fromarray(pixels).save(path)
    return pixels


def save_pairs(folders, count):
    for number in range(count):
        for side, folder in enumerate(folders):
            save(folder / f"{number:02}.png", 2 * number + side)


def load(folders, **options):
    inputs, targets = map(str, folders)
    return load_source(inputs, 8, options.pop("share", 0.3), targets=targets, **options)


def stores(source):
    return [(s, index) for s in (source.training, source.validation) for index in range(len(s))]


def test_input_and_target_stay_together(folders):
    expected = {}
    for number in range(6):
        expected[f"{number}.png"] = np.concatenate(
            [save(folder / f"{number}.png", 2 * number + i) for i, folder in enumerate(folders)], -1
        )
    found = {store.names[i]: store.picture(i) for store, i in stores(load(folders))}
    assert found.keys() == expected.keys()
    for name, pixels in found.items():
        np.testing.assert_array_equal(pixels, expected[name])


def test_the_type_may_differ_and_folders_are_followed(folders):
    inputs, targets = folders
    save_pairs(folders, 2)
    save(inputs / "sub" / "photo é.png", 0, value=0)
    save(targets / "sub" / "photo é.bmp", 0, value=255)
    found = {store.names[i]: store.picture(i) for store, i in stores(load(folders))}
    pixels = found["sub/photo é.png"]
    assert (pixels[..., :3].max(), pixels[..., 3:].min()) == (0, 255)


def test_every_picture_without_a_partner_is_named(folders):
    inputs, targets = folders
    save_pairs(folders, 3)
    save(inputs / "lonely.png", 7)
    save(targets / "sub" / "left.png", 8)
    assert load(folders).skipped == (
        "inputs/lonely.png: has no partner",
        "targets/sub/left.png: has no partner",
    )


def test_pairs_of_unequal_size_are_named(folders):
    inputs, targets = folders
    save_pairs(folders, 3)
    save(inputs / "odd.png", 7, size=(20, 16))
    save(targets / "odd.png", 7, size=(20, 18))
    (line,) = load(folders).skipped
    assert line == "odd.png: the input is 20x16 and the target 20x18: expected equal sizes"


def test_a_pair_of_which_exif_turns_one_is_named(folders):
    inputs, targets = folders
    save_pairs(folders, 3)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (20, 16)).save(inputs / "turned.jpg", exif=exif)
    Image.new("RGB", (20, 16)).save(targets / "turned.jpg")
    (line,) = load(folders).skipped
    assert line == "turned.jpg: the input is 16x20 and the target 20x16: expected equal sizes"


@pytest.mark.parametrize("side", [0, 1])
def test_a_damaged_half_leaves_the_pair_out(folders, side):
    save_pairs(folders, 4)
    path = folders[side] / "00.png"
    path.write_bytes(path.read_bytes()[:-300])
    (line,) = load(folders).skipped
    assert line.startswith(f"00.png: the {('input', 'target')[side]} cannot be read: ")


def test_a_text_file_named_png_leaves_the_pair_out(folders):
    save_pairs(folders, 4)
    (folders[1] / "00.png").write_text("no picture")
    (line,) = load(folders).skipped
    assert "00.png: is not a picture of a kind that is read" in line


def test_of_two_pictures_of_one_name_the_first_is_used(folders):
    save_pairs(folders, 3)
    save(folders[0] / "00.webp", 5)
    assert load(folders).skipped == ("inputs/00.webp: 00.png has the same name and is used",)


def test_folders_without_a_common_name_are_refused(folders):
    save(folders[0] / "a.png", 0)
    save(folders[1] / "b.png", 0)
    with pytest.raises(UserError, match=r"expected pairs such as 'a.png' in both"):
        load(folders)


@pytest.mark.parametrize("side", [0, 1])
def test_a_folder_that_does_not_exist_is_refused(folders, side):
    save_pairs(folders, 2)
    changed = list(folders)
    changed[side] = folders[side].with_name("nowhere")
    with pytest.raises(UserError, match=r"nowhere' does not exist"):
        load(changed)


def test_inputs_of_one_target_are_on_one_side(folders):
    # Three noisy shots of each scene: a scene that is held out must not be trained on.
    inputs, targets = folders
    for scene in range(12):
        for shot in range(3):
            save(inputs / f"{scene}-{shot}.png", 100 * scene + shot)
            save(targets / f"{scene}-{shot}.png", 7000 + scene)
    source = load(folders, share=0.4)
    scenes = [
        {name.split("-")[0] for name in s.names} for s in (source.training, source.validation)
    ]
    assert scenes[0]
    assert scenes[1]
    assert not scenes[0] & scenes[1]


def test_another_input_of_the_same_target_is_other_data(folders):
    save_pairs(folders, 3)
    before = load(folders).training.sha256(), load(folders).validation.sha256()
    for number in range(3):
        save(folders[0] / f"{number:02}.png", 50 + number)
    after = load(folders).training.sha256(), load(folders).validation.sha256()
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_patches_of_input_and_target_come_from_the_same_place(folders):
    for number in range(4):
        pixels = save(folders[0] / f"{number}.png", number, size=(24, 20))
        Image.fromarray(255 - pixels).save(folders[1] / f"{number}.png")
    degraded, clean = patches.fixed_patches(
        load(folders).training, PAIRED, patch_size=8, count=16, seed=0
    )
    np.testing.assert_allclose(degraded, 1 - clean, atol=1e-6)


def test_a_chain_comes_on_top_of_what_was_photographed(folders):
    import dataclasses

    for number in range(3):
        pixels = save(folders[0] / f"{number}.png", number)
        Image.fromarray(pixels).save(folders[1] / f"{number}.png")
    task = dataclasses.replace(PAIRED, degrade="noise:25")
    pair = load(folders).training.picture(0)
    degraded, clean = patches.degrade_picture(pair, task, seed=0)
    assert 10 < 255 * np.std(degraded - clean) < 30


def test_pairs_larger_than_memory_are_read_from_disk(folders):
    save_pairs(folders, 4)
    on_disk, in_memory = load(folders, memory_bytes=10), load(folders)
    for store, other in ((s.training, o.training) for s, o in [(on_disk, in_memory)]):
        assert store.sha256() == other.sha256()
        np.testing.assert_array_equal(store.picture(0), other.picture(0))
