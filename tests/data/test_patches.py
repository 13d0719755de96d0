"""Every example is a function of (seed, epoch, index), whatever the batch size or the start."""

import dataclasses
import itertools
import time

import numpy as np
import pytest
import tensorflow as tf

from tf_deconv.data import patches as patch_data
from tf_deconv.data.patches import PatchPlan, cut_patches, make_plan
from tf_deconv.data.store import PictureStore
from tf_deconv.degradations.tasks import RESTORATIONS, TASKS, find_task

PATCH_PX = 6

# A view after the quarter turns (counter-clockwise) of 0 to 3, and mirrored before them for 4 to 7.
ORIENTED = {
    0: lambda view: view,
    1: lambda view: view.swapaxes(0, 1)[::-1],
    2: lambda view: view[::-1, ::-1],
    3: lambda view: view.swapaxes(0, 1)[:, ::-1],
    4: lambda view: view[:, ::-1],
    5: lambda view: view.swapaxes(0, 1),
    6: lambda view: view[::-1],
    7: lambda view: view[::-1, ::-1].swapaxes(0, 1),
}

every_task = pytest.mark.parametrize("task", RESTORATIONS.values(), ids=RESTORATIONS)


def make_store(*sizes, channels=3):
    rng = np.random.default_rng(0)
    return PictureStore.of(
        (f"{height}x{width}", rng.integers(0, 256, (height, width, channels), np.uint8))
        for height, width in sizes
    )


SIZES = (6, 6), (6, 20), (20, 6), (31, 17)


@pytest.fixture(scope="module")
def store():
    return make_store(*SIZES)


@pytest.fixture
def task_store(task):
    return make_store(*SIZES, channels=task.source_channels)


def training_batches(store, steps, task=TASKS["old-photo"], **options):
    options = {"batch_size": 4, "steps_per_epoch": 6, "seed": 0, **options}
    dataset = patch_data.training_data(store, task, patch_size=PATCH_PX, **options)
    return list(dataset.take(steps).as_numpy_iterator())


def joined(batches):
    degraded, clean = zip(*batches)
    return np.concatenate(degraded), np.concatenate(clean)


def assert_equal_pairs(one, other):
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


# --- make_plan.


def test_a_plan_is_a_function_of_its_arguments(store):
    one = make_plan(store, PATCH_PX, 50, seed=3, epoch=2)
    np.random.seed(1)  # The global state must not matter.
    other = make_plan(store, PATCH_PX, 50, seed=3, epoch=2)
    for field in dataclasses.fields(PatchPlan):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_plans_differ_between_all_seeds_and_epochs(store):
    # (0, 1) and (1, 0) too, and the validation patches, whose epoch is -1.
    pairs = list(itertools.product(range(5), range(patch_data.VALIDATION_EPOCH, 4)))
    plans = [make_plan(store, PATCH_PX, 50, seed=seed, epoch=epoch) for seed, epoch in pairs]
    for field in dataclasses.fields(PatchPlan):
        assert len({getattr(plan, field.name).tobytes() for plan in plans}) == len(pairs)


@pytest.mark.parametrize("patch_size", [1, 5, 6])
def test_patches_lie_within_their_pictures(store, patch_size):
    plan = make_plan(store, patch_size, 2000, seed=0, epoch=0)
    assert set(plan.picture) == {0, 1, 2, 3}
    for index, (height, width) in enumerate(zip(store.heights, store.widths)):
        tops, lefts = plan.top[plan.picture == index], plan.left[plan.picture == index]
        # Every position is possible, the last one too.
        assert set(tops) == set(range(height - patch_size + 1))
        assert set(lefts) == set(range(width - patch_size + 1))


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_the_extreme_seeds_can_be_planned(store, seed):
    plan = make_plan(store, PATCH_PX, 3, seed=seed, epoch=10**6)
    assert plan.noise_seed.dtype == np.int32
    assert plan.noise_seed.shape == (3, 2)
    assert plan.noise_seed.min() >= 0


def test_a_large_picture_is_as_likely_as_a_small_one():
    plan = make_plan(make_store((6, 6), (300, 300)), PATCH_PX, 4000, seed=0, epoch=0)
    # Binomial: a deviation of 0.8%.
    assert np.mean(plan.picture == 0) == pytest.approx(0.5, abs=0.04)


def test_all_eight_orientations_are_drawn(store):
    orientation = make_plan(store, PATCH_PX, 4000, seed=0, epoch=0).orientation
    counts = np.bincount(orientation, minlength=8)
    assert len(counts) == 8
    assert counts.min() > 400


def test_of_several_places_the_one_with_the_most_detail_is_taken(rng):
    flat = np.full((60, 60, 3), 90, np.uint8)
    half = flat.copy()
    half[:, 30:] = rng.integers(0, 256, (60, 30, 3), np.uint8)
    store = PictureStore.of([("flat", flat), ("half", half)])
    shares = []
    for candidates in (1, 2, 8):
        plan = make_plan(store, PATCH_PX, 1000, seed=0, epoch=0, candidates=candidates)
        patches = cut_patches(store, plan, range(1000), PATCH_PX)
        shares.append(np.mean(patches.std(axis=(1, 2, 3)) > 0))
    assert 0.2 < shares[0] < 0.4  # A quarter of the places, and those on the edge.
    # Each place is drawn again, whatever came before.
    assert shares[1] == pytest.approx(1 - (1 - shares[0]) ** 2, abs=0.05)
    assert shares[2] == pytest.approx(1 - (1 - shares[0]) ** 8, abs=0.05)


def test_candidates_leave_orientation_and_place_within_the_picture(store):
    plan = make_plan(store, 5, 500, seed=0, epoch=0, candidates=4)
    assert np.bincount(plan.orientation, minlength=8).min() > 30
    assert np.all(plan.top + 5 <= store.heights[plan.picture])
    assert np.all(plan.left + 5 <= store.widths[plan.picture])


@pytest.mark.parametrize("brightness", [1.0, 0.5])
def test_patches_become_darker_by_a_factor_of_their_own(store, brightness):
    task = TASKS["reconstruct"]
    dark = joined(training_batches(store, 12, task, brightness=brightness))
    plain = joined(training_batches(store, 12, task))
    factors = dark[1].mean(axis=(1, 2, 3)) / plain[1].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(dark[1], plain[1] * factors[:, None, None, None], atol=1e-5)
    np.testing.assert_array_equal(*dark)  # Input and target by the same one.
    assert brightness - 1e-6 <= factors.min() <= factors.max() <= 1 + 1e-6
    assert (factors.std() > 0.05) == (brightness < 1)


# --- cut_patches.


def plan_of(picture, top, left, orientation):
    """One patch in every orientation asked for."""
    count = len(orientation)
    return PatchPlan(
        picture=np.full(count, picture),
        top=np.full(count, top),
        left=np.full(count, left),
        orientation=np.array(orientation),
        noise_seed=np.zeros((count, 2), np.int32),
    )


@pytest.mark.parametrize("orientation", ORIENTED)
def test_a_patch_equals_its_slice_turned_by_hand(store, orientation):
    plan = plan_of(picture=3, top=25, left=11, orientation=[orientation])
    (patch,) = cut_patches(store, plan, range(1), PATCH_PX)
    expected = ORIENTED[orientation](store.picture(3)[25:31, 11:17])
    assert patch.dtype == np.uint8
    np.testing.assert_array_equal(patch, expected)


def test_the_orientations_are_the_eight_symmetries_of_the_square(store):
    patches = cut_patches(store, plan_of(0, 0, 0, range(8)), range(8), PATCH_PX)
    square = store.picture(0)
    symmetries = [
        side[rows, columns]
        for side in (square, square.swapaxes(0, 1))
        for rows in (slice(None), slice(None, None, -1))
        for columns in (slice(None), slice(None, None, -1))
    ]
    distinct = {patch.tobytes() for patch in patches}
    assert len(distinct) == 8
    assert distinct == {symmetry.tobytes() for symmetry in symmetries}


def test_rows_of_a_plan_can_be_cut_in_parts(store):
    plan = make_plan(store, PATCH_PX, 10, seed=0, epoch=0)
    whole = cut_patches(store, plan, range(10), PATCH_PX)
    parts = [cut_patches(store, plan, rows, PATCH_PX) for rows in (range(3), range(3, 10))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


# --- training_data.


@every_task
def test_batches_have_the_shapes_of_the_task(task_store, task):
    size = task.scale if task.scale > 1 else PATCH_PX
    dataset = patch_data.training_data(
        task_store, task, patch_size=size, batch_size=4, steps_per_epoch=2, seed=0
    )
    degraded, clean = dataset.element_spec
    assert degraded.shape == (4, size // task.scale, size // task.scale, task.channels_in)
    assert clean.shape == (4, size, size, task.channels_out)
    for batch in dataset.take(3).as_numpy_iterator():
        for images, spec in zip(batch, (degraded, clean)):
            assert images.shape == spec.shape
            assert images.dtype == np.float32
            assert images.min() >= 0
            assert images.max() <= 1


@every_task
def test_training_data_is_equal_twice(task_store, task):
    one, other = (joined(training_batches(task_store, 8, task)) for _ in range(2))
    assert_equal_pairs(one, other)


def test_without_clean_pictures_each_batch_weighs_the_hidden_pixels(store):
    task = find_task("denoise", self_supervised=True)
    dataset = patch_data.training_data(
        store, task, patch_size=PATCH_PX, batch_size=4, steps_per_epoch=2, seed=0
    )
    hidden, noisy, weights = zip(*dataset.take(4).as_numpy_iterator())
    changed = np.any(np.concatenate(hidden) != np.concatenate(noisy), axis=-1, keepdims=True)
    np.testing.assert_array_equal(changed, np.concatenate(weights) > 0)
    np.testing.assert_allclose(np.concatenate(weights).mean(axis=(1, 2, 3)), 1.0, rtol=1e-5)
    # Other pixels in the next epoch.
    assert np.any(weights[0] != weights[2])


def test_another_seed_gives_other_training_data(store):
    one, other = (joined(training_batches(store, 2, seed=seed)) for seed in (0, 1))
    assert np.any(one[1] != other[1])


def test_clean_patches_are_those_of_the_plan(store):
    _, clean = joined(training_batches(store, 12, batch_size=4, steps_per_epoch=6, seed=5))
    plans = [make_plan(store, PATCH_PX, 24, seed=5, epoch=epoch) for epoch in (0, 1)]
    patches = [cut_patches(store, plan, range(24), PATCH_PX) for plan in plans]
    np.testing.assert_allclose(clean, np.concatenate(patches) / 255, atol=1e-7)


def test_a_resumed_run_sees_what_an_uninterrupted_one_sees(store):
    uninterrupted = training_batches(store, 18)
    for first_epoch in (1, 2):
        missed = 6 * first_epoch
        resumed = training_batches(store, 18 - missed, first_epoch=first_epoch)
        assert_equal_pairs(joined(resumed), joined(uninterrupted[missed:]))


def test_examples_do_not_depend_on_the_batch_size(store):
    # Two epochs of 24 examples, cut in three ways.
    of_4 = joined(training_batches(store, 12, batch_size=4, steps_per_epoch=6))
    of_8 = joined(training_batches(store, 6, batch_size=8, steps_per_epoch=3))
    of_24 = joined(training_batches(store, 2, batch_size=24, steps_per_epoch=1))
    assert_equal_pairs(of_4, of_8)
    assert_equal_pairs(of_4, of_24)


def test_noise_is_drawn_anew_in_each_epoch():
    # One picture of the size of a patch, of one colour: epochs differ by their noise alone.
    flat = PictureStore.of([("flat", np.full((PATCH_PX, PATCH_PX, 3), 128, np.uint8))])
    degraded, clean = joined(training_batches(flat, 4, batch_size=2, steps_per_epoch=1))
    assert np.ptp(clean) == 0
    assert len({image.tobytes() for image in degraded}) == 8


# --- Validation.


@every_task
def test_validation_data_is_fixed(task_store, task):
    options = dict(patch_size=PATCH_PX, count=10, seed=0)
    dataset = patch_data.validation_data(task_store, task, batch_size=4, **options)
    batches = list(dataset.as_numpy_iterator())
    assert [len(degraded) for degraded, _ in batches] == [4, 4, 2]
    again = list(dataset.as_numpy_iterator())
    assert_equal_pairs(joined(batches), joined(again))
    assert_equal_pairs(joined(batches), patch_data.fixed_patches(task_store, task, **options))


def test_a_slow_example_does_not_change_the_order(store, monkeypatch):
    # Examples are degraded in parallel: without care those that are ready first come first.
    def linger(seed):
        time.sleep(0.03 * seed[0] / 2**31)
        return np.float32(seed[0])

    def make_pair(task, picture, seed):
        lingered = tf.numpy_function(linger, [seed], tf.float32)
        return tf.fill((PATCH_PX, PATCH_PX, 1), lingered), picture

    monkeypatch.setattr(patch_data.operators, "make_pair", make_pair)
    lingered, clean = patch_data.fixed_patches(
        store, TASKS["denoise"], patch_size=PATCH_PX, count=24, seed=0
    )
    plan = make_plan(store, PATCH_PX, 24, seed=0, epoch=patch_data.VALIDATION_EPOCH)
    np.testing.assert_array_equal(lingered[:, 0, 0, 0], plan.noise_seed[:, 0].astype("float32"))
    patches = cut_patches(store, plan, range(24), PATCH_PX)
    np.testing.assert_allclose(clean, patches / 255, atol=1e-7)


def test_validation_data_depends_on_the_seed(store):
    options = dict(patch_size=PATCH_PX, count=10)
    one, other = (
        patch_data.fixed_patches(store, TASKS["denoise"], seed=s, **options) for s in (0, 1)
    )
    assert np.any(one[1] != other[1])


@every_task
def test_a_whole_picture_is_degraded_the_same_way_twice(rng, task):
    picture = rng.integers(0, 256, (13, 17, task.source_channels), np.uint8)
    degraded, clean = patch_data.degrade_picture(picture, task, seed=4)
    assert degraded.shape == (13 // task.scale, 17 // task.scale, task.channels_in)
    assert clean.shape[:2] == tuple(side * task.scale for side in degraded.shape[:2])
    again = patch_data.degrade_picture(picture, task, seed=4)
    assert_equal_pairs((degraded, clean), again)


def test_another_seed_degrades_a_whole_picture_otherwise(rng):
    picture = rng.integers(0, 256, (13, 17, 3), np.uint8)
    one, other = (patch_data.degrade_picture(picture, TASKS["denoise"], seed)[0] for seed in (4, 5))
    assert np.mean(one != other) > 0.5


@pytest.mark.parametrize(
    "name", [name for name in RESTORATIONS if name.startswith(("super-resolve", "deblur"))]
)
def test_what_is_to_be_made_sharper_has_the_8_bits_of_a_file(rng, name):
    picture = rng.integers(0, 256, (24, 24, 3), np.uint8)
    levels = patch_data.degrade_picture(picture, TASKS[name], seed=4)[0] * 255.0
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)


# --- What the data layer stands on loads without TensorFlow.


def test_importing_the_package_imports_neither_tensorflow_nor_keras(run_python):
    code = (
        "import sys, tf_deconv, tf_deconv.api, tf_deconv.networks, tf_deconv.data.sources\n"
        "from tf_deconv import TASKS, NETWORKS, TrainConfig\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert run_python(code) == "[]"


def test_a_share_of_patches_is_grey_in_all_channels_and_its_noise_too(bundled):
    batches = patch_data.training_data(
        bundled.training,
        find_task("denoise"),
        patch_size=28,
        batch_size=64,
        steps_per_epoch=1,
        seed=3,
        grey=0.5,
    )
    degraded, clean = next(batches.as_numpy_iterator())
    grey = [bool(np.all(patch == patch[..., :1])) for patch in degraded]
    assert 16 < sum(grey) < 48
    for is_grey, patch in zip(grey, clean):
        if is_grey:
            np.testing.assert_array_equal(patch, np.repeat(patch[..., :1], 3, axis=-1))
