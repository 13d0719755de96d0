"""The web page: written whole, and in a real browser the picture that Python gives."""

import dataclasses
import hashlib
import io
import json
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.browsers import (
    as_a_phone,
    fits_in_width,
    need_browser,
    open_page,
    save_screenshot,
    serve,
    start_browser,
    wait_for,
    wait_until_ready,
)
from tf_deconv.exporting.web import build
from tf_deconv.images import arrays
from tf_deconv.inference import artifacts
from tf_deconv.inference import restorer as restorers
from tf_deconv.utils.options import UserError

TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.fixture
def library(tmp_path):
    """Files by the names that the runtime has."""
    folder = tmp_path / "@litertjs"
    for package, names in build._LIBRARY_FILES.items():
        for name in names:
            path = folder / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    return folder


def write(exported, out, library):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    build.write_web(exported.tflite("float32"), manifest, out, library)


def test_the_page_is_complete_and_asks_no_other_host(exported, tmp_path, library):
    out = tmp_path / "page"
    write(exported, out, library)
    facts = json.loads((out / "model.json").read_text())
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert set(facts["page_files"]) == there
    assert (facts["channels_in"], facts["channels_out"], facts["divisor"]) == (1, 3, 2)
    model = exported.tflite("float32").read_bytes()
    assert (out / facts["file"]).read_bytes() == model
    assert facts["sha256"] == hashlib.sha256(model).hexdigest()
    assert (facts["task"], facts["size_bytes"]) == ("old-photo", len(model))
    for path in out.glob("*.*"):
        if path.suffix in (".html", ".js", ".css"):
            assert "//cdn" not in path.read_text()
            assert "https://" not in path.read_text()
    assert "VERSION" not in (out / "sw.js").read_text()
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in out.rglob("*"))
    assert [path.name for path in tmp_path.glob(".web-*")] == []


def test_a_new_network_is_a_new_cache(exported, tmp_path, library):
    out = tmp_path / "page"
    write(exported, out, library)
    before = (out / "sw.js").read_text()
    write(exported, out, library)
    assert (out / "sw.js").read_text() == before
    (library / "core" / "dist" / "index.js").write_text("another")
    write(exported, out, library)
    assert (out / "sw.js").read_text() != before


def test_a_folder_of_something_else_is_left_alone(exported, tmp_path, library):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="is not empty and no earlier page"):
        write(exported, tmp_path / "mine", library)
    with pytest.raises(UserError, match="is a file"):
        build.check_target(tmp_path / "mine" / "letter.txt")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_a_model_json_of_someone_elses_is_no_earlier_page(tmp_path):
    # TensorFlow.js calls its models that: a folder of one was taken for a page, and replaced.
    (tmp_path / "model.json").write_text('{"format": "layers-model", "page_files": 3}')
    with pytest.raises(UserError, match=r"it holds 'model\.json'"):
        build.check_target(tmp_path)


def test_a_file_added_to_an_earlier_page_is_not_lost(exported, tmp_path, library):
    out = tmp_path / "page"
    write(exported, out, library)
    (out / "CNAME").write_text("pictures.example")
    with pytest.raises(UserError, match="it holds 'CNAME'"):
        write(exported, out, library)
    assert (out / "CNAME").read_text() == "pictures.example"


def test_an_earlier_page_comes_back_when_the_new_one_cannot_take_its_place(tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("earlier")
    with pytest.raises(UserError, match="cannot be replaced: No such file"):
        build._put(tmp_path / "missing", tmp_path / "page")
    assert (tmp_path / "page" / "index.html").read_text() == "earlier"


def test_npms_cause_is_told_and_not_where_its_log_is(tmp_path, monkeypatch):
    stderr = (
        "npm warn old\nnpm error code ETARGET\nnpm error notarget No matching version found.\n"
        "npm error A complete log of this run can be found in: somewhere\n"
    )
    done = types.SimpleNamespace(returncode=1, stderr=stderr)
    monkeypatch.setattr(build.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(UserError, match=r"2\.5\.3: notarget No matching version found; name a"):
        build._fetch(tmp_path)


def test_without_the_runtime_the_way_to_get_it_is_told(tmp_path, library, monkeypatch):
    (library / "core" / "wasm" / "litert_wasm_internal.wasm").unlink()
    with pytest.raises(UserError, match=r"no core/wasm/litert_wasm_internal.wasm: .*npm install"):
        build.find_library(str(library))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="install npm, or name a node_modules"):
        build.find_library(None)


# --- In a browser.


@pytest.fixture(scope="module")
def page(script, run, tmp_path_factory):
    """The exported article's network as a page, on a server of its own."""
    need_browser()
    folder = tmp_path_factory.mktemp("web")
    options = ("--variants", "float32", "--sizes", "28,96", "--web", folder / "page")
    script("export.py", run.folder, "--out", folder / "models", *options)
    return folder


@pytest.fixture
def server(page):
    with serve(page / "page") as served:
        yield served


@pytest.fixture(scope="module")
def browser(page):
    """One for all tests: each test's server has a port, and so caches, of its own."""
    with start_browser(page / "profile") as driver:
        yield driver


def restore(browser, path):
    """Puts a file in; returns the pixels of the canvas that shows the result."""
    browser.execute_script("document.getElementById('result').hidden = true")
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(browser, "return !document.getElementById('result').hidden")
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('Done')")
    return after(browser)


def after(browser):
    """Returns the pixels of the canvas that shows the result, (H, W, 4)."""
    values = browser.execute_script(
        "const c = document.getElementById('after');"
        "const image = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "return [c.width, c.height, ...image.data]"
    )
    return np.array(values[2:], np.uint8).reshape(values[1], values[0], 4)


def python_pixels(page, pixels):
    """What `tf-deconv restore` makes of the same file in the same tiles."""
    (model,) = page.glob("models/*/tflite/*-float32.tflite")
    restorer = restorers.Restorer(artifacts.open_artifact(model))
    return arrays.to_uint8(restorer.restore(arrays.to_float(pixels)))


def noisy(height, width):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    smooth = 128 + 90 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] * np.array(
        [1, 0.6, -1]
    )
    return np.clip(smooth + rng.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.clients
def test_the_browser_gives_pythons_picture_also_without_a_connection(
    page, server, browser, tmp_path
):
    pixels = noisy(131, 217)  # Several tiles, and sides that the divisor does not divide.
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    open_page(browser, server)
    restored = restore(browser, tmp_path / "picture.png")
    save_screenshot(browser, "desktop")
    expected = python_pixels(page, pixels).astype(int)
    assert restored.shape == (131, 217, 4)
    assert np.abs(restored[..., :3] - expected).max() <= 1
    assert "131 pixels, restored in" in browser.find_element("id", "facts").text

    wait_for(browser, "return navigator.serviceWorker.controller !== null")
    server.shutdown()
    server.server_close()
    browser.refresh()
    wait_until_ready(browser)
    again = restore(browser, tmp_path / "picture.png")
    np.testing.assert_array_equal(again, restored)


@pytest.mark.clients
@pytest.mark.parametrize(("height", "width"), [(1, 1), (20, 31), (28, 28), (61, 300)])
def test_small_and_narrow_pictures_are_pythons_too(page, server, browser, tmp_path, height, width):
    # All were put into the largest size, where the mirrored pixels show at the border.
    pixels = noisy(height, width)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    open_page(browser, server)
    restored = restore(browser, tmp_path / "picture.png")[..., :3]
    assert np.abs(restored - python_pixels(page, pixels).astype(int)).max() <= 1


@pytest.mark.clients
def test_the_strength_is_that_of_restore(page, server, browser, tmp_path):
    pixels = noisy(60, 70)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    open_page(browser, server)
    own = restore(browser, tmp_path / "picture.png")
    assert browser.find_element("id", "mix").is_displayed()
    saved = browser.find_element("id", "download").get_attribute("href")
    for strength in (0, 0.5, 1.7, 1):
        browser.execute_script(
            "const s = document.getElementById('strength'); s.value = arguments[0];"
            "for (const kind of ['input', 'change']) s.dispatchEvent(new Event(kind))",
            strength,
        )
        assert browser.find_element("id", "amount").text == str(strength)
        mixed = after(browser)[..., :3].astype(int)
        # The restored picture's own rounding counts `strength` times.
        exact = pixels + strength * (own[..., :3].astype(float) - pixels)
        assert np.abs(mixed - np.clip(exact, 0, 255)).max() <= 0.501
        if strength == 0:
            np.testing.assert_array_equal(mixed, pixels)
    np.testing.assert_array_equal(after(browser), own)
    wait_for(browser, f"return document.getElementById('download').href !== '{saved}'")


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
import(new URL("tiles.js", location))
  .then((m) => m.restorePixels(Uint8ClampedArray.from(data), width, height, facts, run, () => {}))
  .then((pixels) => done([...pixels]), (error) => done(error.message));
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


@pytest.mark.clients
def test_tiles_of_every_kind_of_network_are_those_of_restore(page, server, browser, rng):
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


@pytest.mark.clients
def test_a_network_that_sees_too_far_says_which_pictures_it_takes(page, server, browser):
    open_page(browser, server)
    artifact = make_artifact(3, 3, 4, 1, None, ((16, 16),))
    message = tile_in_browser(browser, noisy(20, 31), artifact)
    assert message.replace(TIMES, "x") == (
        "A picture of 31x20 does not suit this network, made for 16x16."
    )


@pytest.mark.clients
def test_without_a_gpu_it_says_so_and_restores_on_the_cpu(page, server, browser, tmp_path):
    pixels = noisy(40, 50)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    open_page(browser, server, "?accelerator=webgpu")
    assert "runs on the CPU" in browser.find_element("id", "status").text
    restored = restore(browser, tmp_path / "picture.png")[..., :3]
    assert np.abs(restored - python_pixels(page, pixels).astype(int)).max() <= 1


@pytest.mark.clients
def test_the_picture_that_was_put_in_last_is_shown(page, server, browser, tmp_path):
    Image.fromarray(noisy(600, 800)).save(tmp_path / "large.png")
    Image.fromarray(noisy(20, 31)).save(tmp_path / "small.png")
    # Not after the network was loaded: a picture that came before was dropped without a word.
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    wait_for(browser, "return !document.getElementById('title').textContent.startsWith('Restore')")
    browser.find_element("id", "choose").send_keys(str(tmp_path / "large.png"))
    wait_for(browser, "return document.getElementById('status').textContent === 'Restoring…'")
    browser.find_element("id", "choose").send_keys(str(tmp_path / "small.png"))
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('Done')")
    assert browser.find_element("id", "facts").text.startswith(f"31{TIMES}20 pixels")


@pytest.mark.clients
def test_holes_are_shown_as_holes(page, server, browser, tmp_path):
    # The two pictures lie over each other: the restored one showed through the holes of the other.
    Image.new("RGBA", (60, 40)).save(tmp_path / "empty.png")
    open_page(browser, server)
    restore(browser, tmp_path / "empty.png")
    background = browser.find_element("id", "before").value_of_css_property("background-image")
    assert "gradient" in background


@pytest.mark.clients
def test_what_is_no_picture_is_told_and_the_page_goes_on(page, server, browser, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(noisy(20, 31)).save(tmp_path / "small.png")
    open_page(browser, server)
    browser.find_element("id", "choose").send_keys(str(tmp_path / "text.png"))
    wait_for(browser, "return document.getElementById('status').className === 'fault'")
    assert "not a picture" in browser.find_element("id", "status").text
    Image.new("L", (8000, 5001)).save(tmp_path / "large.png")
    browser.find_element("id", "choose").send_keys(str(tmp_path / "large.png"))
    message = f"The picture is 8000{TIMES}5001: at most 40 megapixels, please."
    wait_for(browser, f"return document.getElementById('status').textContent === '{message}'")
    assert not browser.find_element("id", "result").is_displayed()
    assert restore(browser, tmp_path / "small.png").shape == (20, 31, 4)


@pytest.fixture
def phone(browser):
    with as_a_phone(browser):
        yield browser


@pytest.mark.clients
def test_it_fits_a_phones_screen_and_the_line_moves(server, phone):
    from selenium.webdriver import ActionChains, Keys

    browser = phone
    open_page(browser, server)
    save_screenshot(browser, "phone-empty")
    browser.find_element("id", "sample").click()
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('Done')")
    save_screenshot(browser, "phone")
    assert fits_in_width(browser)
    for name in ("choose", "take", "sample"):
        selector = f"label[for={name}], button#{name}"
        assert browser.find_element("css selector", selector).size["height"] >= 44
    browser.execute_script(
        "const s = document.getElementById('slider'); s.value = 80;"
        "s.dispatchEvent(new Event('input'))"
    )
    before, slider = browser.find_element("id", "before"), browser.find_element("id", "slider")
    assert before.value_of_css_property("clip-path") == "inset(0px 20% 0px 0px)"
    slider.send_keys(Keys.ARROW_RIGHT)
    assert before.value_of_css_property("clip-path") == "inset(0px 19% 0px 0px)"
    # A tap a quarter into the picture puts the line exactly there.
    box = before.rect
    quarter = int(box["width"] / 4 - box["width"] / 2)
    ActionChains(browser).move_to_element_with_offset(slider, quarter, 0).click().perform()
    line = browser.find_element("id", "line").rect
    assert line["x"] + line["width"] / 2 == pytest.approx(box["x"] + box["width"] / 4, abs=3)
    save_screenshot(browser, "phone-moved")
    png = browser.execute_async_script(
        "const done = arguments[0]; fetch(document.getElementById('download').href)"
        ".then((r) => r.arrayBuffer()).then((b) => done([...new Uint8Array(b)]))"
    )
    assert Image.open(io.BytesIO(bytes(png))).size == (320, 320)
