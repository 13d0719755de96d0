"""Every page of a stack is a picture, and all of a file stand on one side of the split."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fixtures.commands import call, fails
from tests.fixtures.picture_folders import load, make_pictures, write, write_noise
from tests.fixtures.shard_folders import shard
from tf_deconv.data import folders, sources
from tf_deconv.data.sources import load_source, read_pictures
from tf_deconv.utils.options import UserError

PAGES = 5


def write_stack(path, seed, count=PAGES, **options):
    pages = make_pictures(count, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pages, photometric="rgb", **options)
    else:
        first, *others = map(Image.fromarray, pages)
        if path.suffix == ".webp":
            options["lossless"] = True
        first.save(path, save_all=True, append_images=others, **options)
    return pages


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_every_page_is_read_in_order(tmp_path, suffix):
    # The first one alone was, and nobody was told.
    pages = write_stack(tmp_path / f"a{suffix}", 0)
    store, skipped, notes = read_pictures(str(tmp_path))
    assert store.names == tuple(f"a{suffix}[{page}]" for page in range(PAGES))
    for index, page in enumerate(pages):
        np.testing.assert_array_equal(store.picture(index), page)
    assert (skipped, notes) == ([], [])


def test_a_gif_counts_frame_by_frame(tmp_path):
    frames = [Image.new("L", (12, 12), 40 * k) for k in range(PAGES)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    store, _, _ = read_pictures(str(tmp_path))
    assert [int(store.picture(k)[0, 0, 0]) for k in range(len(store))] == [0, 40, 80, 120, 160]


def test_pages_of_other_sizes_are_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for side in (20, 12, 4):
            writer.write(make_pictures(1, side)[0], photometric="rgb")
    store, skipped, _ = sources.read_pictures(str(tmp_path), max_pixels=300)
    assert store.names == ("a.tif[1]", "a.tif[2]")
    assert skipped == ["a.tif[0]: 20x20 is more than max_pixels=300"]


def test_many_pages_are_opened_once_for_each_thread(tmp_path, monkeypatch):
    write_stack(tmp_path / "a.tif", 0, count=300)
    opened = []
    open_pictures = folders.reading.open_pictures
    monkeypatch.setattr(
        folders.reading,
        "open_pictures",
        lambda path, *limit: opened.append(path) or open_pictures(path, *limit),
    )
    assert len(read_pictures(str(tmp_path))[0]) == 300
    assert len(opened) <= 1 + 8  # Once for its head.


def test_a_file_that_claims_too_many_pictures_is_named(tmp_path):
    write_stack(tmp_path / "a.png", 0)
    whole = (tmp_path / "a.png").read_bytes()
    place = whole.index(b"acTL")
    changed = b"acTL" + struct.pack(">LL", 2**31 - 1, 0)
    changed += struct.pack(">L", zlib.crc32(changed))
    (tmp_path / "a.png").write_bytes(whole[:place] + changed + whole[place + 16 :])
    write(tmp_path, make_pictures(2))
    store, skipped, _ = read_pictures(str(tmp_path))
    assert len(store) == 2
    assert skipped == [
        f"a.png: is damaged: it claims 2,147,483,647 pictures in {len(whole):,} bytes"
    ]


def sides(source):
    return [
        {name.split("[")[0] for name in store.names}
        for store in (source.training, source.validation)
    ]


def test_pages_of_a_file_stand_on_one_side(tmp_path):
    # Neighbours of a film or of a stack of slices are near-copies.
    for number in range(12):
        write_stack(tmp_path / f"{number}.tif", number)
    source = load(tmp_path, validation_fraction=0.4)
    training, validation = sides(source)
    assert (len(training & validation), len(training | validation)) == (0, 12)
    assert 1 <= len(validation) <= 9
    assert len(source.training) + len(source.validation) == 12 * PAGES


def test_files_with_a_page_in_common_stand_together(tmp_path):
    for number in range(8):
        pages = write_stack(tmp_path / f"{number}.tif", number)
        Image.fromarray(pages[2]).save(tmp_path / f"copy-{number}.png")
    source = load(tmp_path, validation_fraction=0.5)
    numbers = [
        {name.removeprefix("copy-").split(".")[0] for name in side} for side in sides(source)
    ]
    assert not numbers[0] & numbers[1]


def test_the_pages_of_the_only_file_are_split_and_that_is_said(tmp_path):
    write_stack(tmp_path / "a.tif", 0, count=20)
    source = load(tmp_path, validation_fraction=0.2)
    assert source.validation.names == tuple(f"a.tif[{page}]" for page in range(16, 20))
    (note,) = source.notes
    assert "pages of one file: its last 4 are held out" in note


def test_shards_of_pages_are_split_as_their_files(tmp_path):
    for number in range(6):
        write_stack(tmp_path / "d" / f"{number}.tif", number)
    shard(tmp_path / "d", tmp_path / "s", shards=2)
    one, other = (load(tmp_path / name, validation_fraction=0.4) for name in "ds")
    assert one.training.names == other.training.names
    assert one.training.sha256() == other.training.sha256()


def test_pairs_of_stacks_go_page_by_page(tmp_path):
    given = write_stack(tmp_path / "in" / "a.tif", 0)
    wanted = write_stack(tmp_path / "out" / "a.webp", 1)
    write_stack(tmp_path / "in" / "b.tif", 2)
    write_stack(tmp_path / "out" / "b.tif", 3, count=4)
    store, skipped, _ = read_pictures(str(tmp_path / "in"), targets=str(tmp_path / "out"))
    assert skipped == [
        "b.tif: the input holds 5 pictures and the target 4: expected as many",
    ]
    np.testing.assert_array_equal(store.picture(3), np.concatenate([given[3], wanted[3]], -1))


def test_the_second_picture_of_a_phone_is_left_out_and_said(tmp_path):
    first, second = (Image.fromarray(picture) for picture in make_pictures(2, side=32))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    Image.fromarray(make_pictures(1, 32)[0]).save(tmp_path / "b.jpg")
    store, skipped, notes = read_pictures(str(tmp_path))
    assert (store.names, skipped) == (("a.jpg", "b.jpg"), [])
    assert notes == ["a.jpg: 1 more picture in the file left out: only the first is read"]


# --- What lies beside pictures.


def fill(folder):
    """Pictures under other names, and what is none."""
    write(folder, make_pictures(4))
    for number, picture in enumerate(make_pictures(3, seed=9)):
        image = Image.fromarray(picture)
        image.save(folder / f"{number}.txt", "PNG")
        image.save(folder / f"{number}.jfif", "JPEG")
    (folder / "notes.md").write_text("words")
    (folder / ".hidden").write_text("words")
    return folder


def test_content_decides_and_what_is_no_picture_is_one_line(tmp_path):
    store, skipped, notes = read_pictures(str(fill(tmp_path)))
    assert (len(store), skipped) == (10, [])
    assert notes == ["1 file is no picture (.md) and 1 hidden: left alone"]


def test_what_may_hold_pictures_is_named(tmp_path):
    (fill(tmp_path) / "a.pdf").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(99))
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "half.png").write_bytes((tmp_path / "picture-000.png").read_bytes()[:-60])
    source = load_source(str(tmp_path), 8, 0.3)
    assert [line.split(":")[0] for line in source.failures] == [
        *("a.pdf", "film.mp4", "gone.png", "half.png")
    ]
    assert source.skipped == source.failures


def test_a_folder_of_nothing_but_a_pdf_is_one_line(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n")
    with pytest.raises(UserError, match=r"holds no picture \(a.pdf: is a PDF document, which"):
        load(tmp_path)


TRAIN = "train --network unet --size tiny --task denoise-grey --epochs 1 --steps-per-epoch 1"


def train(capsys, folder, out, *more):
    words = f"{TRAIN} --batch-size 2 --patch-size 16 --device cpu".split()
    return call(capsys, *words, "--data", folder, "--run-dir", out, *more)


def test_training_with_a_file_that_cannot_be_read_ends_with_1(tmp_path, capsys):
    # It ended with 0, and of a PDF or a camera raw file nothing was said.
    for number in range(4):
        write_noise(tmp_path / "d" / f"{number}.png", seed=number)
    write_noise(tmp_path / "d" / "small.png", size=(8, 8))
    # Too small for a patch is no fault.
    source = load_source(str(tmp_path / "d"), 16, 0.3)
    assert (len(source.skipped), source.failures) == (1, ())
    (tmp_path / "d" / "a.pdf").write_bytes(b"%PDF-1.7\n")
    code, out, err = train(capsys, tmp_path / "d", tmp_path / "run")
    assert code == 1, err
    assert "small.png: 8x8 is smaller" in out
    assert "a.pdf: is a PDF document, which is not read" in out
    assert out.splitlines()[-1].startswith("1 of the files of ")
    assert (tmp_path / "run" / "model.keras").is_file()
    code, out, _ = call(capsys, "shard", tmp_path / "d", "--out", tmp_path / "s")
    assert (code, "a.pdf: is a PDF" in out) == (1, True)


def test_levels_are_recorded_and_shown(tmp_path, capsys):
    (tmp_path / "d").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(100, 1500, (40, 36), np.uint16)
        tifffile.imwrite(tmp_path / "d" / f"{number}.tif", pixels)
    code, out, err = train(capsys, tmp_path / "d", tmp_path / "run", "--range", "50-2000")
    assert code == 0, out + err
    code, out, _ = call(capsys, "inspect", tmp_path / "run")
    assert "uint16 values: 50 to 2000 are taken as 0 to 1" in out
    command = ("evaluate", tmp_path / "run", "--data", tmp_path / "d", "--no-classical")
    code, out, _ = call(capsys, *command, "--out", tmp_path / "scores")
    # What the model learned with, and not what these pictures would tell.
    assert "note: uint16 values: 50 to 2000 are taken as 0 to 1, as recorded" in out
    for wrong in ("4-1", "dark"):
        line = fails(capsys, *command, "--range", wrong)
        assert f"--range {wrong}: expected" in line
