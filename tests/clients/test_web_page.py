"""The page that restores, in a real browser: its pictures are those of `tf-deconv restore`."""

import base64
import dataclasses
import io
import json
import shutil
import subprocess
import time
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures.browsers import (
    as_a_phone,
    asks_before_leaving,
    drop,
    faults_of_access,
    fits_in_width,
    in_the_dark,
    is_kept,
    need_browser,
    open_page,
    save_screenshot,
    saved_files,
    serve,
    start_browser,
    tab_stops,
    text_of,
    wait_for,
    wait_until_kept,
    wait_until_ready,
)
from tf_deconv.exporting.web import build, golden
from tf_deconv.images import arrays
from tf_deconv.images.transparency import fill_hidden
from tf_deconv.inference import artifacts, picture_job
from tf_deconv.inference import restorer as restorers

pytestmark = pytest.mark.clients

TIMES = "\N{MULTIPLICATION SIGN}"
AXE = "axe-core@4.10.3"
# The article's network, which colours, and three that come with tf_deconv.
ARTICLE, *SHIPPED = "old-photo-article", "photo-small", "denoise-grey", "super-resolve-x4"


@pytest.fixture(scope="module")
def page(exported, tmp_path_factory):
    """One page of four models, the browser's profile, and axe-core's program."""
    need_browser()
    folder = tmp_path_factory.mktemp("web")
    command = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
    packages = [*build.PACKAGES, AXE]
    subprocess.run([*command, "--prefix", str(folder), *packages], check=True, capture_output=True)
    library = folder / "node_modules" / "@litertjs"
    tf_deconv.export(
        exported.folder, also=SHIPPED, web=str(folder / "page"), web_library=str(library)
    )
    axe = (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    return types.SimpleNamespace(folder=folder, axe=axe, article=exported.tflite("float32"))


@pytest.fixture
def server(page):
    with serve(page.folder / "page") as served:
        yield served


@pytest.fixture(scope="module")
def browser(page):
    """One for all tests: each test's server has a port, and so caches, of its own."""
    with start_browser(page.folder / "profile") as driver:
        yield driver


@pytest.fixture
def saved(page):
    """Returns the file that the page saves when something is done."""
    folder = saved_files(page.folder / "profile")

    def get(act, seconds=20):
        shutil.rmtree(folder, ignore_errors=True)  # A file of the same name would be written over.
        act()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            new = list(folder.iterdir()) if folder.is_dir() else []
            if len(new) == 1 and new[0].suffix != ".crdownload" and new[0].stat().st_size:
                return new[0]
            time.sleep(0.1)
        pytest.fail("nothing was saved")

    return get


def status(browser):
    return text_of(browser, "status")


def choose_model(browser, name):
    browser.execute_script(f"document.querySelector('[value={name}]').click()")
    wait_until_ready(browser)


def put_in(browser, *paths):
    """Puts files in and waits until all of them were restored and the first one is shown."""
    browser.find_element("id", "choose").send_keys("\n".join(map(str, paths)))
    wait_until_done(browser)


def wait_until_done(browser):
    wait_for(
        browser,
        "return document.getElementById('status').textContent.startsWith('Done') &&"
        " Boolean(document.body.dataset.shown)",
    )


def set_strength(browser, value):
    browser.execute_script(
        "const s = document.getElementById('strength'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))",
        value,
    )
    wait_for(browser, f"return document.body.dataset.shown.endsWith(' {value}')")


def shown(browser, name="after"):
    """Returns the pixels of a canvas, (H, W, 4), of a picture without transparency."""
    values = browser.execute_script(
        "const c = document.getElementById(arguments[0]);"
        "const o = new OffscreenCanvas(c.width, c.height).getContext('2d');"
        "o.drawImage(c, 0, 0);"
        "return [c.width, c.height, ...o.getImageData(0, 0, c.width, c.height).data]",
        name,
    )
    return np.array(values[2:], np.uint8).reshape(values[1], values[0], 4)


def noisy(height, width):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    smooth = 128 + 90 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] * np.array(
        [1, 0.6, -1]
    )
    return np.clip(smooth + rng.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)


def with_holes(height, width):
    """Colours under every opacity, and others under none."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width]
    alpha = np.clip(8 * (20 - np.hypot(y - height / 2, x - width / 3)) + 90, 0, 255)
    alpha[: height // 4] = np.clip(rng.normal(128, 60, (height // 4, width)), 1, 255)
    return np.dstack([noisy(height, width), alpha.astype(np.uint8)])


def write(folder, name, pixels, **options):
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name


def read(source):
    with Image.open(source) as image:
        return np.asarray(image)


def by_python(model, path, folder, strength=1.0):
    """What `tf-deconv restore` makes of a file in float32."""
    target = folder / f"{model}-{strength}-{path.name}"
    tf_deconv.restore(
        model, path, out=str(target), strength=strength, precision="float32", report=lambda _: None
    )
    return read(target)


# A level for rounding in another order: what is shown came from floats that differ by 1e-6.
# Pictures are as large as a window: around smaller ones the page mirrors more than `restore` does.
def assert_near(received, expected):
    assert received.shape == expected.shape
    assert np.abs(received.astype(int) - expected).max() <= 1


def test_a_batch_comes_out_as_restore_makes_it(server, browser, saved, tmp_path):
    paths = [
        write(tmp_path, "large.png", noisy(261, 307)),  # Several tiles, and sides that are odd.
        write(tmp_path, "holes.png", with_holes(256, 259)),
        write(tmp_path, "grey.png", noisy(257, 256)[..., 0]),
    ]
    open_page(browser, server, "?model=photo-small")
    put_in(browser, *paths)
    save_screenshot(browser, "desktop")
    assert f"large.png · 307 {TIMES} 261 pixels" in browser.find_element("id", "facts").text
    assert_near(shown(browser)[..., :3], by_python("photo-small", paths[0], tmp_path))
    np.testing.assert_array_equal(shown(browser, "before")[..., :3], read(paths[0]))

    set_strength(browser, 0.5)
    archive = zipfile.ZipFile(saved(browser.find_element("id", "save-all").click))
    assert archive.testzip() is None
    assert archive.namelist() == [f"{path.stem}-restored.png" for path in paths]
    for path, name in zip(paths, archive.namelist()):
        received = read(io.BytesIO(archive.read(name)))
        expected = by_python("photo-small", path, tmp_path, 0.5)
        if path.stem == "large":  # A canvas wrote it, with opacity.
            assert received[..., 3].min() == 255
            received = received[..., :3]
        assert_near(received, expected)
        if path.stem == "holes":
            # Opacity, and what nobody sees, are the picture's own.
            given = read(path)
            hidden = given[..., 3] == 0
            assert hidden.any()
            np.testing.assert_array_equal(received[..., 3], given[..., 3])
            np.testing.assert_array_equal(received[hidden], given[hidden])


def test_the_strength_needs_no_second_run(server, browser, tmp_path):
    path = write(tmp_path, "picture.png", noisy(256, 256))
    open_page(browser, server, "?model=photo-small")
    put_in(browser, path)
    for strength in (0, 1.7, 2, 1):
        set_strength(browser, strength)
        assert browser.find_element("id", "amount").text == f"{round(100 * strength)} %"
        assert_near(shown(browser)[..., :3], by_python("photo-small", path, tmp_path, strength))
    assert status(browser).startswith("Done")


@pytest.mark.parametrize(
    ("model", "height", "width"), [("denoise-grey", 256, 257), ("super-resolve-x4", 64, 83)]
)
def test_models_that_change_size_or_colour_give_pythons_picture(
    server, browser, saved, tmp_path, model, height, width
):
    path = write(tmp_path, "holes.png", with_holes(height, width))
    open_page(browser, server, f"?model={model}")
    put_in(browser, path)
    assert browser.find_element("id", "mix").is_displayed() == (model == "denoise-grey")
    received = read(saved(browser.find_element("id", "save").click))
    expected = by_python(model, path, tmp_path)
    visible = expected[..., -1] > 0
    if model == "denoise-grey":  # Where nobody sees it, the page keeps the colours of the picture.
        received = received[..., [0, 3]]
    np.testing.assert_array_equal(received[..., -1], expected[..., -1])
    assert_near(received[visible], expected[visible])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (20, 31), (28, 28), (61, 300)])
def test_small_and_narrow_pictures_are_pythons_too(page, server, browser, tmp_path, height, width):
    # All were put into the largest size, where the mirrored pixels show at the border.
    pixels = noisy(height, width)
    open_page(browser, server, f"?model={ARTICLE}")
    put_in(browser, write(tmp_path, "picture.png", pixels))
    restorer = restorers.Restorer(artifacts.open_artifact(page.article))
    expected = arrays.to_uint8(restorer.restore(arrays.to_float(pixels)))
    assert_near(shown(browser)[..., :3], expected)


def test_without_a_connection_it_goes_on_and_with_threads(server, browser, tmp_path):
    path = write(tmp_path, "picture.png", noisy(131, 217))
    open_page(browser, server, "?model=photo-small")
    put_in(browser, path)
    first = shown(browser)
    wait_until_kept(browser)
    assert is_kept(browser, "photo-small-float16.tflite")
    # Nothing but the page's own folder is asked for.
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert {url.split("/")[2] for url in asked} == {f"127.0.0.1:{server.server_port}"}
    assert browser.get_cookies() == []
    server.shutdown()
    server.server_close()
    browser.refresh()
    wait_until_ready(browser)
    # The service worker isolates the page, which the server did not.
    assert browser.execute_script("return self.crossOriginIsolated")
    put_in(browser, path)
    assert "threads" in browser.find_element("id", "how").get_attribute("textContent")
    assert_near(shown(browser), first)
    # A model that was never used says so, and the page goes on.
    browser.execute_script("document.querySelector('[value=super-resolve-x4]').click()")
    message = "it was not kept for use without a connection"
    wait_for(browser, f"return document.getElementById('status').textContent.includes('{message}')")
    choose_model(browser, "photo-small")
    wait_until_done(browser)


def test_the_types_to_save(server, browser, saved, tmp_path):
    path = write(tmp_path, "holes.webp", with_holes(60, 80), lossless=True, exact=True)
    open_page(browser, server, "?model=photo-small")
    put_in(browser, path)
    for value, kind, mode in (
        ("same", "WEBP", "RGBA"),
        ("image/png", "PNG", "RGBA"),
        ("image/jpeg", "JPEG", "RGB"),
    ):
        browser.find_element("css selector", f"#type [value='{value}']").click()
        with Image.open(saved(browser.find_element("id", "save").click)) as image:
            assert (image.format, image.mode, image.size) == (kind, mode, (80, 60))
            if kind == "JPEG":  # Which knows no opacity: white, as `restore` has it.
                assert min(image.getpixel((79, 59))) >= 250


def test_a_phones_picture_stands_upright(server, browser, saved, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path = write(tmp_path, "phone.jpg", noisy(30, 40), exif=exif, quality=95)
    open_page(browser, server, "?model=photo-small")
    put_in(browser, path)
    with Image.open(saved(browser.find_element("id", "save").click)) as image:
        assert (image.format, image.size) == ("JPEG", (30, 40))
        assert not image.getexif()


# --- Parts of the page by themselves.

# A network that sees `reach` pixels up, down, left and right, and zeros beyond its window: a wrong
# overlap, mirror or border changes what it gives.
CROSS_JS = """
const [data, width, height, facts, reach, done] = arguments;
const { channels_in: C, channels_out: D, scale: s } = facts;
const run = async (x, [h, w]) => {
  const at = (i, j, c) => (i < 0 || j < 0 || i >= h || j >= w ? 0 : x[(i * w + j) * C + c]);
  const out = new Float32Array(h * s * w * s * D);
  for (let i = 0; i < h * s; i++) for (let j = 0; j < w * s; j++) for (let d = 0; d < D; d++) {
    const [y, z, c] = [Math.floor(i / s), Math.floor(j / s), C - 1 - (d % C)];
    out[(i * w * s + j) * D + d] = (
      at(y - reach, z, c) + at(y + reach, z, c) + at(y, z - reach, c) + at(y, z + reach, c)) / 4;
  }
  return out;
};
(async () => {
  const at = (name) => import(new URL(name, location));
  const [{ restoreTiles }, { Change }, { Picture }] = await Promise.all(
    ["tiles.js", "change.js", "picture.js"].map(at));
  const change = new Change(new Picture(Uint8ClampedArray.from(data), width, height), facts);
  await restoreTiles(change, run, () => {});
  done([...change.at(1).data]);
})().catch((error) => done(error.message));
"""


def cross(image, reach, channels_out, scale):
    """CROSS_JS's network in NumPy."""
    height, width, channels = image.shape[1:]
    padded = np.pad(image[0], ((reach, reach), (reach, reach), (0, 0)))
    up, down = padded[:height, reach:-reach], padded[2 * reach :, reach:-reach]
    left, right = padded[reach:-reach, :width], padded[reach:-reach, 2 * reach :]
    mean = (up + down + left + right) / 4
    mean = mean[..., [channels - 1 - channel % channels for channel in range(channels_out)]]
    return mean.repeat(scale, 0).repeat(scale, 1)[np.newaxis]


def tile_in_browser(browser, pixels, artifact):
    overlap = artifact.reach_px and artifact.reach_px + -artifact.reach_px % artifact.divisor
    facts = dataclasses.asdict(artifact) | {"tile_overlap": overlap, "run": None}
    height, width = pixels.shape[:2]
    arguments = (pixels.ravel().tolist(), width, height, facts, artifact.reach_px or 1)
    result = browser.execute_async_script(CROSS_JS, *arguments)
    if isinstance(result, str):
        return result
    return np.array(result, int).reshape(height * artifact.scale, width * artifact.scale, 4)


def make_artifact(channels_in, channels_out, divisor, scale, reach, sizes):
    return restorers.Artifact(
        run=lambda image: cross(image, reach or 1, channels_out, scale),
        channels_in=channels_in,
        channels_out=channels_out,
        divisor=divisor,
        scale=scale,
        reach_px=reach,
        sizes=sizes,
    )


NETWORKS = {
    "grey to colour": (1, 3, 2, 1, 3, ((16, 16), (24, 24))),
    "colour": (3, 3, 4, 1, 5, ((16, 16), (24, 32))),
    "colour to grey": (3, 1, 1, 1, 2, ((12, 20),)),
    "with holes": (4, 3, 4, 1, 3, ((16, 16), (32, 32))),
    "twice as large": (3, 3, 2, 2, 3, ((16, 16), (24, 24))),
    "a size that the divisor does not divide": (3, 3, 4, 1, None, ((30, 30), (64, 64))),
}


def test_tiles_of_every_kind_of_network_are_those_of_restore(server, browser, rng):
    open_page(browser, server)
    for name, network in NETWORKS.items():
        artifact = make_artifact(*network)
        for height, width in ((1, 1), (7, 50), (16, 16), (30, 30), (41, 37)):
            # Opacity is all or nothing: Python knows no half of it for the networks without holes.
            pixels = rng.integers(0, 256, (height, width, 4), np.uint8)
            pixels[..., 3] = 255 if artifact.channels_in < 4 else 255 * (pixels[..., 3] > 90)
            restored = tile_in_browser(browser, pixels, artifact)
            expected = restorers.Restorer(artifact).restore(pixels)
            assert np.all(restored[..., 3] == 255)
            difference = np.abs(restored[..., :3] - expected.astype(int)).max()
            assert difference <= 1, (name, height, width)


def test_a_network_that_sees_too_far_says_which_pictures_it_takes(server, browser):
    open_page(browser, server)
    artifact = make_artifact(3, 3, 4, 1, None, ((16, 16),))
    message = tile_in_browser(browser, np.dstack([noisy(20, 31), np.full((20, 31), 255)]), artifact)
    assert message == (
        f"A picture of 31 {TIMES} 20 does not suit this model, made for 16 {TIMES} 16."
    )


PARTS_JS = """
const [data, width, height, scale, done] = arguments;
(async () => {
  const at = (name) => import(new URL(name, location));
  const [hidden, { Picture, writePicture }] = await Promise.all(
    ["hidden.js", "picture.js"].map(at));
  const picture = new Picture(Uint8ClampedArray.from(data), width, height);
  const png = await writePicture(picture, "image/png");
  done([
    [...hidden.fillHidden(picture)],
    [...hidden.enlargedOpacity(picture, scale)],
    [...new Uint8Array(await png.arrayBuffer())],
  ]);
})().catch((error) => done(error.message));
"""


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (37, 50), (64, 83)])
def test_transparency_is_treated_as_restore_does(server, browser, height, width):
    open_page(browser, server)
    pixels = with_holes(37, 50)[:height, :width] if height < 37 else with_holes(height, width)
    arguments = (pixels.ravel().tolist(), width, height, 4)
    filled, opacity, png = browser.execute_async_script(PARTS_JS, *arguments)
    # Exactly: of a level that is wrong, a network makes two.
    expected = fill_hidden(pixels[..., :3], pixels[..., 3:])
    np.testing.assert_array_equal(np.array(filled).reshape(height, width, 4)[..., :3], expected)
    opacity = np.array(opacity).reshape(4 * height, 4 * width)
    assert_near(opacity, picture_job.enlarge(pixels[..., 3:], 4)[..., 0])
    # Exactly: a canvas would have multiplied colours by their opacity.
    received = read(io.BytesIO(bytes(png)))
    np.testing.assert_array_equal(received, pixels)


GOLDEN_JS = """
const [facts, right, done] = arguments;
import(new URL("golden.js", location)).then(async ({ draw, isRight }) => {
  const [height, width] = facts.golden.size;
  const run = (values) => isRight(facts, async () => [Float32Array.from(values), null]);
  const wrong = [...right];
  wrong[0] += 2 / 255;
  done([
    [...draw(height, width, facts.channels_in)],
    await run(right), await run(wrong), await run(right.map(() => NaN)),
  ]);
});
"""


def test_a_gpu_that_computes_wrongly_is_found_out(server, browser, page):
    open_page(browser, server)
    drawn = golden.draw(40, 24, 4)
    answer = np.rint(255 * drawn[..., :3])
    facts = {"channels_in": 4, "channels_out": 3, "scale": 1}
    facts["golden"] = {
        "size": [40, 24],
        "answer": base64.b64encode(answer.astype(np.uint8).tobytes()).decode(),
    }
    made, right, wrong, nothing = browser.execute_async_script(
        GOLDEN_JS, facts, drawn[..., :3].ravel().tolist()
    )
    np.testing.assert_allclose(made, drawn.ravel(), atol=1e-6)
    assert (right, wrong, nothing) == (True, False, False)


def test_without_a_gpu_it_says_so_and_restores_on_the_processor(server, browser, tmp_path):
    path = write(tmp_path, "picture.png", noisy(256, 256))
    open_page(browser, server, "?model=photo-small&accelerator=webgpu")
    assert "the processor is used" in status(browser)
    put_in(browser, path)
    assert_near(shown(browser)[..., :3], by_python("photo-small", path, tmp_path))


# --- What a visitor does.


def test_what_is_no_picture_is_told_and_the_page_goes_on(server, browser, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    small = write(tmp_path, "small.png", noisy(20, 31))
    large = write(tmp_path, "large.png", np.zeros((5001, 8000), np.uint8))
    open_page(browser, server, "?model=photo-small")
    for path, message in (
        (tmp_path / "text.png", "text.png: Not a picture that this browser can read"),
        (large, f"8000 {TIMES} 5001 pixels are too many: at most 40 megapixels."),
    ):
        browser.find_element("id", "choose").send_keys(str(path))
        wait_for(browser, "return document.getElementById('status').className === 'fault'")
        assert message in status(browser)
        assert "\n" not in status(browser)
        assert not browser.find_element("id", "save").is_enabled()
        browser.find_element("id", "remove").click()
    put_in(browser, small)
    assert browser.find_element("id", "sheet").is_displayed()
    assert shown(browser).shape == (20, 31, 4)
    # Of a batch one may fail.
    browser.find_element("id", "choose").send_keys(f"{tmp_path / 'text.png'}\n{small}")
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('2 of 3')")
    assert "text.png" in status(browser)
    # Or an earlier picture would look like this one's.
    wait_for(browser, "return document.getElementById('sheet').hidden")


def test_opened_as_a_file_it_says_what_to_do(page, browser):
    browser.get((page.folder / "page" / "index.html").as_uri())
    assert "python -m http.server" in status(browser)


def test_another_model_keeps_the_place_and_going_back_costs_nothing(server, browser, tmp_path):
    path = write(tmp_path, "picture.png", noisy(64, 64))
    open_page(browser, server, "?model=photo-small")
    put_in(browser, path)
    browser.find_element("id", "actual").click()
    browser.find_element("id", "larger").click()
    width = browser.find_element("id", "sheet").size["width"]
    for name in (ARTICLE, "photo-small"):
        browser.execute_script(f"document.querySelector('[value={name}]').click()")
        wait_for(browser, f"return (document.body.dataset.shown ?? '').includes('{name}')")
        assert browser.find_element("id", "sheet").size["width"] == width
    # The first result was kept: its time still stands there, and nothing was run for it.
    assert status(browser).startswith("Done")


def test_the_first_picture_may_come_before_the_network(server, browser, tmp_path):
    browser.get(f"http://127.0.0.1:{server.server_port}/?model=photo-small")
    wait_for(browser, "return document.querySelector('.model') !== null")
    put_in(browser, write(tmp_path, "small.png", noisy(20, 31)))
    assert shown(browser).shape == (20, 31, 4)


def test_it_is_cancelled_and_goes_on(server, browser, tmp_path):
    large = write(tmp_path, "large.png", noisy(900, 1200))
    small = write(tmp_path, "small.png", noisy(20, 31))
    open_page(browser, server, "?model=photo-small")
    browser.find_element("id", "choose").send_keys(f"{large}\n{small}")
    wait_for(browser, "return document.getElementById('progress').value > 0")
    browser.find_element("id", "cancel").click()
    assert status(browser) == "Cancelled: 0 of 2 pictures restored."
    first, second = browser.find_elements("css selector", "#strip button")
    second.click()
    browser.find_element("id", "remove").click()
    state = first.find_element("class name", "state")
    assert state.get_attribute("textContent") == "stopped"
    put = browser.find_element("id", "cancel")
    assert put.text == "Go on"
    # Not the large one, which would take long: another one is restored beside it.
    browser.find_element("id", "choose").send_keys(str(small))
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    assert shown(browser).shape == (20, 31, 4)


BRING_JS = """
const [bytes, kind] = arguments;
const file = new File([Uint8Array.from(bytes)], "brought.png", { type: "image/png" });
const data = new DataTransfer();
data.items.add(file);
if (kind === "drop") data.items.add(new File(["letter"], "letter.txt", { type: "text/plain" }));
const event = kind === "drop"
  ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
  : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
document.body.dispatchEvent(event);
"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_pictures_are_pasted_and_dropped(server, browser, tmp_path, kind):
    path = write(tmp_path, "small.png", noisy(20, 31))
    open_page(browser, server, "?model=photo-small")
    browser.execute_script(BRING_JS, list(path.read_bytes()), kind)
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    assert shown(browser).shape == (20, 31, 4)
    assert "brought.png" in browser.find_element("id", "facts").text


def test_what_is_dropped_and_not_taken_is_named(server, browser, tmp_path):
    # Of other files there was a number, which the next line took away; of text there was nothing.
    picture = write(tmp_path, "small.png", noisy(20, 31))
    for name in ("clip.mp4", "letter.txt"):
        (tmp_path / name).write_text("no picture", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    open_page(browser, server, "?model=photo-small")
    drop(browser, tmp_path / "folder")
    wait_for(browser, "return document.getElementById('note').textContent")
    assert text_of(browser, "note") == "There is no file in that folder."
    drop(browser, tmp_path / "clip.mp4", picture, tmp_path / "letter.txt")
    wait_until_done(browser)
    assert text_of(browser, "note").startswith("Left out, as no picture: clip.mp4 and letter.txt. ")
    assert text_of(browser, "note").endswith(", above, restores films.")
    assert status(browser).startswith("Done.")
    save_screenshot(browser, "dropped")
    drop(browser, text="a letter")
    wait_for(browser, "return document.getElementById('note').className === 'fault'")
    assert text_of(browser, "note").startswith(
        "What was dropped is no file, but text or an address"
    )
    assert shown(browser).shape == (20, 31, 4)


def test_it_is_not_left_with_work_that_is_not_saved(server, browser, saved, tmp_path):
    paths = [write(tmp_path, f"{n}.png", noisy(20, 31)) for n in range(2)]
    large = write(tmp_path, "large.png", noisy(900, 1200))
    open_page(browser, server, "?model=photo-small")
    assert not asks_before_leaving(browser)
    # What anybody can make again in a moment may go.
    browser.find_element("id", "sample").click()
    wait_until_done(browser)
    assert not asks_before_leaving(browser)
    browser.find_element("id", "remove").click()
    put_in(browser, *paths)
    assert asks_before_leaving(browser)
    saved(browser.find_element("id", "save").click)
    assert asks_before_leaving(browser)
    saved(browser.find_element("id", "save-all").click)
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('Saved')")
    assert not asks_before_leaving(browser)
    browser.find_element("id", "choose").send_keys(str(large))
    wait_for(browser, "return !document.getElementById('going').hidden")
    assert asks_before_leaving(browser)


def test_everybody_gets_in(page, server, browser, tmp_path):
    paths = [write(tmp_path, f"{n}.png", noisy(20, 31)) for n in range(2)]
    open_page(browser, server, "?model=photo-small")
    assert faults_of_access(browser, page.axe) == []
    put_in(browser, *paths)
    browser.find_element("css selector", "footer summary").click()
    assert faults_of_access(browser, page.axe) == []
    with in_the_dark(browser):
        assert faults_of_access(browser, page.axe) == []
    with as_a_phone(browser):
        assert faults_of_access(browser, page.axe) == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(server, browser, tmp_path):
    from selenium.webdriver import Keys

    paths = [write(tmp_path, f"{n}.png", noisy(20, 31)) for n in range(2)]
    open_page(browser, server, "?model=photo-small")
    put_in(browser, *paths)
    reached = tab_stops(browser)
    wanted = [
        "./",
        "film.html",
        "model",
        "choose",
        "sample",
        "fit",
        "actual",
        "smaller",
        "larger",
        "remove",
    ]
    wanted += ["scroller", "slider", "strength", "type", "save", "save-all"]
    assert [name for name in reached if name in wanted] == wanted
    # The line moves by keys, and the picture grows.
    slider = browser.find_element("id", "slider")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert slider.get_attribute("aria-valuetext") == "51 percent before"
    before = browser.find_element("id", "sheet").size["width"]
    browser.find_element("id", "scroller").send_keys("+")
    assert browser.find_element("id", "sheet").size["width"] == pytest.approx(1.5 * before, abs=2)
    browser.find_element("id", "scroller").send_keys("1")
    assert browser.find_element("id", "sheet").size["width"] == 31
    assert browser.find_element("id", "actual").get_attribute("aria-pressed") == "true"


def test_it_fits_a_phones_screen_and_the_line_moves(server, browser):
    from selenium.webdriver import ActionChains

    with as_a_phone(browser):
        open_page(browser, server, "?model=photo-small")
        save_screenshot(browser, "phone-empty")
        assert fits_in_width(browser)
        for name in ("choose", "take", "sample"):
            selector = f"label[for={name}], button#{name}"
            assert browser.find_element("css selector", selector).size["height"] >= 44
        browser.find_element("id", "sample").click()
        wait_until_done(browser)
        save_screenshot(browser, "phone")
        assert fits_in_width(browser)
        # A tap a quarter into the picture puts the line exactly there.
        sheet = browser.find_element("id", "sheet")
        box = sheet.rect
        quarter = int(box["width"] / 4 - box["width"] / 2)
        ActionChains(browser).move_to_element_with_offset(sheet, quarter, 0).click().perform()
        line = browser.find_element("id", "line").rect
        middle = line["x"] + line["width"] / 2
        assert middle == pytest.approx(box["x"] + box["width"] / 4, abs=3)
        cut = browser.find_element("id", "before").value_of_css_property("clip-path")
        right = float(cut.split("px ")[1].removesuffix("px"))
        assert right == pytest.approx(0.75 * box["width"], abs=3)
        save_screenshot(browser, "phone-moved")


def test_one_model_alone_needs_no_list(page, exported, browser, tmp_path):
    library = page.folder / "node_modules" / "@litertjs"
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    model = build.PageModel(exported.tflite("float32"), manifest)
    build.write_web([model], tmp_path / "page", library)
    with serve(tmp_path / "page") as server:
        open_page(browser, server)
        assert not browser.find_element("css selector", ".model input").is_displayed()
        assert browser.find_element("css selector", ".model .title").text == "old-photo-article"
