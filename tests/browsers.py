"""A real browser, a server of a page's folder, and how tests wait for the page."""

import contextlib
import functools
import http.server
import importlib.util
import os
import pathlib
import shutil
import threading
import time

import pytest

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
PHONE = dict(width=390, height=844, deviceScaleFactor=2, mobile=True)


def need_browser():
    """Skips, or fails where clients are required, without a browser and npm."""
    missing = [path for path in (BROWSER, DRIVER) if not os.path.isfile(path)]
    missing += [] if importlib.util.find_spec("selenium") else ["selenium"]
    missing += [] if shutil.which("npm") else ["npm"]
    if missing:
        needed = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if needed else pytest.skip)(f"not installed: {', '.join(missing)}")


@contextlib.contextmanager
def serve(folder):
    """Serves a folder on a port of its own."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        yield served
    finally:
        served.shutdown()
        served.server_close()


@contextlib.contextmanager
def start_browser(profile):
    """Starts Chromium with a profile of its own."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1200,900"):
        options.add_argument(flag)
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def be_a_phone(browser):
    """Gives the browser a phone's screen, and fingers."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})


def wait_for(browser, script, seconds=60):
    """Waits until a script returns something true."""
    deadline = time.monotonic() + seconds
    while not browser.execute_script(script):
        assert time.monotonic() < deadline, browser.execute_script(
            "return document.getElementById('status').textContent"
        )
        time.sleep(0.1)


def wait_until_ready(browser):
    """Waits until a page has loaded its network."""
    wait_for(browser, "return document.body && document.body.dataset.ready === 'true'")


def open_page(browser, server, path=""):
    """Opens a page and waits for its network."""
    browser.get(f"http://127.0.0.1:{server.server_port}/{path}")
    wait_until_ready(browser)


def fits_in_width(browser):
    """Returns whether nothing reaches over the side of the screen."""
    sides = browser.execute_script(
        "const root = document.documentElement; return [root.scrollWidth, root.clientWidth]"
    )
    return sides[0] <= sides[1]


def save_screenshot(browser, name):
    """Keeps what is seen, where a person asks for it."""
    if folder := os.environ.get("TF_DECONV_SCREENSHOTS"):
        browser.save_screenshot(str(pathlib.Path(folder, f"{name}.png")))
