"""The web page: written whole, and in a real browser the picture that Python gives."""

import functools
import http.server
import importlib.util
import io
import json
import os
import pathlib
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tf_deconv import artifacts, images, inference
from tf_deconv.config import UserError
from tf_deconv.exporting import web

BROWSER, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
# What keeps Chromium from asking other hosts for things.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def library(tmp_path):
    """Files by the names that the runtime has."""
    folder = tmp_path / "@litertjs"
    for package, names in web._LIBRARY_FILES.items():
        for name in names:
            path = folder / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    return folder


def write(exported, out, library):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    web.write_web(exported.tflite("float32"), manifest, out, library)


def test_the_page_is_complete_and_asks_no_other_host(exported, tmp_path, library):
    out = tmp_path / "page"
    write(exported, out, library)
    facts = json.loads((out / "model.json").read_text())
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert set(facts["page_files"]) == there
    assert (facts["channels_in"], facts["channels_out"], facts["divisor"]) == (1, 3, 2)
    assert (out / facts["file"]).read_bytes() == exported.tflite("float32").read_bytes()
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
        web.check_target(tmp_path / "mine" / "letter.txt")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_without_the_runtime_the_way_to_get_it_is_told(tmp_path, library, monkeypatch):
    (library / "core" / "wasm" / "litert_wasm_internal.wasm").unlink()
    with pytest.raises(UserError, match=r"no core/wasm/litert_wasm_internal.wasm: .*npm install"):
        web.find_library(str(library))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="install npm, or name a node_modules"):
        web.find_library(None)


# --- In a browser.


@pytest.fixture(scope="module")
def page(script, run, tmp_path_factory):
    """The exported article's network as a page, on a server of its own."""
    missing = [path for path in (BROWSER, DRIVER) if not os.path.isfile(path)]
    missing += [] if importlib.util.find_spec("selenium") else ["selenium"]
    missing += [] if shutil.which("npm") else ["npm"]
    if missing:
        needed = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if needed else pytest.skip)(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("web")
    options = ("--variants", "float32", "--sizes", "28,96", "--web", folder / "page")
    script("export.py", run.folder, "--out", folder / "models", *options)
    return folder


@pytest.fixture
def server(page):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(page / "page"))
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,900"):
        options.add_argument(flag)
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def wait_for(browser, script, seconds=60):
    deadline = time.monotonic() + seconds
    while not browser.execute_script(script):
        assert time.monotonic() < deadline, browser.execute_script(
            "return document.getElementById('status').textContent"
        )
        time.sleep(0.1)


def open_page(browser, server):
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    wait_for(browser, "return document.body && document.body.dataset.ready === 'true'")


def restore(browser, path):
    """Puts a file in; returns the pixels of the canvas that shows the result."""
    browser.execute_script("document.getElementById('result').hidden = true")
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(browser, "return !document.getElementById('result').hidden")
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('Done')")
    values = browser.execute_script(
        "const c = document.getElementById('after');"
        "const image = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "return [c.width, c.height, ...image.data]"
    )
    return np.array(values[2:], np.uint8).reshape(values[1], values[0], 4)


def python_pixels(page, pixels):
    """What `tf-deconv restore` makes of the same file in the same tiles."""
    (model,) = page.glob("models/*/tflite/*-float32.tflite")
    restorer = inference.Restorer(artifacts.open_artifact(model))
    return images.to_uint8(restorer.restore(images.to_float(pixels)))


def noisy(height, width):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    smooth = 128 + 90 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] * np.array(
        [1, 0.6, -1]
    )
    return np.clip(smooth + rng.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)


def save_screenshot(browser, name):
    # Kept where a person asks for them.
    if folder := os.environ.get("TF_DECONV_SCREENSHOTS"):
        browser.save_screenshot(str(pathlib.Path(folder, f"{name}.png")))


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
    wait_for(browser, "return document.body && document.body.dataset.ready === 'true'")
    again = restore(browser, tmp_path / "picture.png")
    np.testing.assert_array_equal(again, restored)


@pytest.mark.clients
def test_what_is_no_picture_is_told_and_the_page_goes_on(page, server, browser, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(noisy(20, 31)).save(tmp_path / "small.png")
    open_page(browser, server)
    browser.find_element("id", "choose").send_keys(str(tmp_path / "text.png"))
    wait_for(browser, "return document.getElementById('status').className === 'fault'")
    assert "no picture" in browser.find_element("id", "status").text
    assert restore(browser, tmp_path / "small.png").shape == (20, 31, 4)


@pytest.mark.clients
def test_it_fits_a_phones_screen_and_the_line_moves(page, server, browser, tmp_path):
    phone = dict(width=390, height=844, deviceScaleFactor=2, mobile=True)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    open_page(browser, server)
    save_screenshot(browser, "phone-empty")
    browser.find_element("id", "sample").click()
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('Done')")
    save_screenshot(browser, "phone")
    widths = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert len(set(browser.execute_script(widths))) == 1
    for name in ("choose", "take", "sample"):
        selector = f"label[for={name}], button#{name}"
        assert browser.find_element("css selector", selector).size["height"] >= 44
    browser.execute_script(
        "const s = document.getElementById('slider'); s.value = 80;"
        "s.dispatchEvent(new Event('input'))"
    )
    assert browser.find_element("id", "before").value_of_css_property("clip-path") == (
        "inset(0px 20% 0px 0px)"
    )
    png = browser.execute_async_script(
        "const done = arguments[0]; fetch(document.getElementById('download').href)"
        ".then((r) => r.arrayBuffer()).then((b) => done([...new Uint8Array(b)]))"
    )
    assert Image.open(io.BytesIO(bytes(png))).size == (320, 320)
