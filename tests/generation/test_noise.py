"""The noise is the same in NumPy, TensorFlow, C and JavaScript, and it is noise."""

import os
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from scipy import stats

from tf_deconv.generation import noise
from tf_deconv.utils.options import UserError

# Seed, first, count, size, stream: ends of the ranges, odd sizes, and words above 2**31.
CASES = [
    (0, 0, 1, 1, 0),
    (7, 0, 3, 101, 0),
    (7, 40, 2, 64, 5),
    (noise.LARGEST_SEED, 2**31 - 1, 3, 33, 2**31),
    (noise.LARGEST_SEED, 2**32 - 2, 2, 8, 2**32 - 1),
]


def need(name):
    """Skips, or fails where clients are required, without a program."""
    if not shutil.which(name):
        required = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if required else pytest.skip)(f"not installed: {name}")


def table(page, *columns):
    """Returns the rows of a page's table that has these columns."""
    lines = page.splitlines()
    start = lines.index(f"| {' | '.join(columns)} |") + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.split() for cell in line.strip("| ").split(" | ")])
    return rows


@pytest.fixture(scope="session")
def page(repository):
    return (repository / "docs" / "noise.md").read_text()


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A SavedModel of `normal_tensor`, loaded: seed, first, count, stream to (count, 101)."""
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec((), tf.int32, "seed"),
                tf.TensorSpec((), tf.int64, "first"),
                tf.TensorSpec((), tf.int32, "count"),
                tf.TensorSpec((), tf.int64, "stream"),
            ]
        )
        def sample(self, seed, first, count, stream):
            return noise.normal_tensor(seed, count, 101, first=first, stream=stream)

    folder = str(tmp_path_factory.mktemp("noise"))
    module = Module()
    tf.saved_model.save(module, folder)
    loaded = tf.saved_model.load(folder)
    return types.SimpleNamespace(sample=loaded.sample, module=module, loaded=loaded)


# ---- The words ----


def test_threefry_gives_the_known_answers_of_random123(page):
    # https://github.com/DEShawResearch/random123, tests/kat_vectors: threefry2x32 20.
    known = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for key, counter, expected in known:
        assert tuple(int(word[0]) for word in noise.threefry2x32(key, counter)) == expected
    told = table(page, "key", "counter", "words")
    assert told == [[[f"{word:08x}" for word in pair] for pair in row] for row in known]


def test_the_page_tells_what_the_generator_gives(page):
    rows = table(page, "seed", "stream", "picture", "words", "normal numbers")
    assert len(rows) == 5
    for (seed,), (stream,), (picture,), words, numbers in rows:
        seed, stream, picture = int(seed), int(stream), int(picture)
        given = noise.words(seed, stream, np.array([picture]), len(words))[0]
        assert [f"{word:08x}" for word in given] == words
        given = noise.normal(seed, 1, len(numbers), first=picture, stream=stream)[0]
        np.testing.assert_allclose(given, np.array(numbers, float), rtol=0, atol=1e-6)


def test_key_and_counter_are_seed_stream_picture_block():
    words = noise.words(5, 6, np.array([7, 8]), 4)
    assert words.dtype == np.uint32
    for row, picture in enumerate((7, 8)):
        blocks = [noise.threefry2x32((5, 6), (picture, block)) for block in (0, 1)]
        assert words[row].tolist() == np.concatenate(blocks, axis=0).ravel().tolist()


# ---- The numbers ----


@pytest.mark.parametrize("draw", [noise.normal, noise.uniform])
def test_a_number_depends_on_its_picture_and_place_alone(draw):
    whole = draw(3, 9, 51, stream=2)
    assert whole.shape == (9, 51)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(draw(3, 4, 51, first=5, stream=2), whole[5:])
    np.testing.assert_array_equal(draw(3, 2, 20, stream=2), whole[:2, :20])
    np.testing.assert_array_equal(draw(3, 1, 33, first=8, stream=2), whole[8:, :33])


@pytest.mark.parametrize("draw", [noise.normal, noise.uniform])
def test_nothing_asked_is_nothing_given(draw):
    assert draw(3, 0, 5).shape == (0, 5)
    assert draw(3, 5, 0).shape == (5, 0)


def test_seeds_streams_and_pictures_are_not_correlated():
    # Neighbours in every one of the three, and the same sum of seed and stream.
    rows = np.concatenate(
        [noise.normal(seed, 4, 20000, stream=stream) for seed in (0, 1) for stream in (0, 1)]
    )
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 5 / np.sqrt(20000)


@pytest.mark.parametrize("seed", [0, 7, noise.LARGEST_SEED])
def test_normal_numbers_are_normal(seed):
    numbers = noise.normal(seed, 50, 4001).astype(np.float64)
    count = numbers.size
    # Variances of the sample moments of a standard normal variable: 1, 2, 15, 96 by its moments.
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(numbers**power) - mean) < 4 * np.sqrt(variance / count)
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 0.001
    # Pictures on their own, and the two halves of a pair.
    assert stats.kstest(numbers.mean(axis=1) * np.sqrt(4001), "norm").pvalue > 0.001
    assert abs(np.corrcoef(numbers[:, :-1:2].ravel(), numbers[:, 1::2].ravel())[0, 1]) < 0.02
    assert np.abs(numbers).max() < 5.78


def test_uniform_numbers_are_uniform():
    numbers = noise.uniform(7, 50, 4000)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 0.001


def test_the_ends_of_the_words_give_finite_numbers(monkeypatch):
    for word, expected in ((0, [np.sqrt(48 * np.log(2)), 0]), (2**32 - 1, [0, 0])):
        monkeypatch.setattr(noise, "words", lambda *_, word=word: np.full((1, 2), word, np.uint32))
        np.testing.assert_allclose(noise.normal(0, 1, 2)[0], expected, rtol=1e-6)
        assert 0 <= noise.uniform(0, 1, 2).max() < 1


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ((-1, 1, 1), {}, "seed=-1: expected a whole number from 0 to 2147483647"),
        ((2**31, 1, 1), {}, "seed=2147483648: expected a whole number"),
        ((1.5, 1, 1), {}, r"seed=1\.5: expected a whole number"),
        ((1, -1, 1), {}, "count=-1: expected"),
        ((1, 1, -1), {}, "size=-1: expected"),
        ((1, 2, 1), {"first": 2**32 - 1}, "count=2: expected a whole number from 0 to 1"),
        ((1, 1, 1), {"first": -1}, "first=-1: expected"),
        ((1, 1, 1), {"stream": 2**32}, "stream=4294967296: expected"),
    ],
)
@pytest.mark.parametrize("draw", [noise.normal, noise.uniform])
def test_a_number_out_of_range_is_refused(draw, arguments, options, expected):
    with pytest.raises(UserError, match=expected):
        draw(*arguments, **options)


def test_a_picture_number_out_of_range_is_refused():
    with pytest.raises(UserError, match="picture number=-1: expected"):
        noise.words(0, 0, np.array([0, -1]), 2)


# ---- TensorFlow ----


@pytest.mark.parametrize("case", CASES)
def test_tensorflow_gives_the_numbers_of_numpy(case, saved):
    seed, first, count, size, stream = case
    eager = noise.normal_tensor(seed, count, size, first=first, stream=stream).numpy()
    assert eager.dtype == np.float32
    expected = noise.normal(seed, count, size, first=first, stream=stream)
    np.testing.assert_allclose(eager, expected, rtol=0, atol=1e-6)
    graph = saved.sample(seed, first, count, stream).numpy()
    expected = noise.normal(seed, count, 101, first=first, stream=stream)
    np.testing.assert_allclose(graph, expected, rtol=0, atol=1e-6)


def test_tensorflow_knows_the_size_when_the_graph_is_made(saved):
    outputs = saved.loaded.sample.concrete_functions[0].structured_outputs
    assert outputs.shape.as_list() == [None, 101]
    assert saved.sample(0, 0, 0, 0).shape == (0, 101)
    assert noise.normal_tensor(0, 3, 0).shape == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((-1, 0, 1, 0), r"seed: expected 0 to 2147483647, received\] \[-1\]"),
        ((0, -1, 1, 0), "first: expected 0 to 4294967295"),
        ((0, 0, -1, 0), r"count: expected 0 or more, received\] \[-1\]"),
        ((0, 0, 1, 2**32), "stream: expected 0 to 4294967295"),
    ],
)
def test_a_graph_refuses_what_is_out_of_range(saved, arguments, expected):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=expected):
        saved.sample(*arguments)


def test_importing_the_module_imports_no_tensorflow():
    code = "import sys, tf_deconv.generation.noise; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- C and JavaScript ----


@pytest.fixture(scope="session")
def c_program(repository, tmp_path_factory):
    """Builds the C program, with sanitizers, and returns a function that runs it."""
    need("make")
    need("cc")
    folder = tmp_path_factory.mktemp("c")
    for name in ("noise.c", "noise.h", "Makefile"):
        shutil.copy(repository / "examples" / "c" / name, folder)
    checks = "CFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    done = subprocess.run(["make", "-C", folder, "noise", checks], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    def run(*arguments):
        command = [str(folder / "noise"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.clients
@pytest.mark.parametrize("case", CASES)
def test_the_c_program_prints_the_numbers_of_numpy(c_program, case):
    seed, first, count, size, stream = case
    done = c_program(*case)
    assert done.returncode == 0, done.stderr
    given = np.array([line.split() for line in done.stdout.splitlines()], np.float32)
    expected = noise.normal(seed, count, size, first=first, stream=stream)
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-6)
    if stream == 0:
        assert c_program(*case[:4]).stdout == done.stdout


@pytest.mark.clients
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (1, 0, 1),
        (1, 0, 1, 1, 0, 0),
        (-1, 0, 1, 1),
        (2**31, 0, 1, 1),
        (1, 2**32 - 1, 2, 1),
        (1, 0, 1, "3x"),
        (1, 0, 1, ""),
        (1, 0, 1, 2**31),
        (1, 0, 1, 1, 2**64),
    ],
)
def test_the_c_program_tells_how_it_is_called(c_program, arguments):
    done = c_program(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: noise SEED FIRST COUNT SIZE [STREAM]\n")
    assert not done.stdout


def run_javascript(repository, code):
    # No failure where clients are required: browsers run it, and no document asks for node.
    if not shutil.which("node"):
        pytest.skip("not installed: node")
    module = repository / "tf_deconv" / "exporting" / "web" / "sample" / "noise.js"
    code = f"import {{ normal, words }} from {module.as_uri()!r};\n{code}"
    command = ["node", "--input-type=module", "-e", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.clients
def test_javascript_gives_the_numbers_of_numpy(repository):
    # NumPy's order of arguments is seed, count, size; JavaScript's the order of CASES.
    code = f"for (const c of {[list(case) for case in CASES]})"
    code += (
        " console.log([...normal(...c)].join(' ') + '|' + words(c[0], c[4], c[1], 0).join(' '));"
    )
    done = run_javascript(repository, code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(CASES)
    for (seed, first, count, size, stream), line in zip(CASES, lines):
        numbers, words = (part.split() for part in line.split("|"))
        expected = noise.normal(seed, count, size, first=first, stream=stream).ravel()
        np.testing.assert_allclose(np.array(numbers, float), expected, rtol=0, atol=1e-6)
        expected = noise.words(seed, stream, np.array([first]), 2)[0]
        assert list(map(int, words)) == expected.tolist()


@pytest.mark.clients
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-1, 0, 1, 1", "seed=-1: expected a whole number from 0 to 2147483647"),
        ("0.5, 0, 1, 1", "seed=0.5: expected"),
        ("1, 0, -1, 1", "count=-1: expected"),
        ("1, 4294967295, 2, 1", "count=2: expected a whole number from 0 to 1"),
        ("1, 0, 1", "size=undefined: expected"),
    ],
)
def test_javascript_refuses_what_is_out_of_range(repository, arguments, expected):
    done = run_javascript(repository, f"normal({arguments})")
    assert done.returncode == 1
    assert re.search(rf"RangeError: {re.escape(expected)}", done.stderr)
