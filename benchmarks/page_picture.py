"""The tutorial's picture of the page that `export --web` makes: docs/tutorials/page.jpg.

    python benchmarks/page_picture.py PAGE

PAGE is the page's folder. It needs Chromium with its driver, and `pip install '.[clients]'`.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import pathlib
import threading
import time

from PIL import Image

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
NOISY, PICTURE = DOCS / "gallery" / "sumac-noisy.jpg", DOCS / "tutorials" / "page.jpg"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,900")
WAIT_S = 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", metavar="PAGE", help="folder that `export --web` made")
    page = parser.parse_args().page
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=page)
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        shot = take(f"http://127.0.0.1:{served.server_port}/")
    finally:
        served.shutdown()
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").resize((800, image.height * 800 // image.width)).save(
            PICTURE, quality=85
        )
    print(PICTURE)


def take(address: str) -> bytes:
    """Returns the window as PNG once the page has restored the picture."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    service = webdriver.ChromeService(executable_path="/usr/bin/chromedriver")
    browser = webdriver.Chrome(options=options, service=service)
    try:
        browser.get(address)
        browser.find_element("id", "choose").send_keys(str(NOISY))
        end = time.monotonic() + WAIT_S
        while "Move the line" not in browser.find_element("tag name", "body").text:
            if time.monotonic() > end:
                raise SystemExit("the page did not restore the picture")
            time.sleep(0.5)
        time.sleep(3)  # What moves has come to rest.
        return browser.get_screenshot_as_png()
    finally:
        browser.quit()


if __name__ == "__main__":
    import outcome

    outcome.run(main)
