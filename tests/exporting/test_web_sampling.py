"""The page that makes pictures: written by kind, and in a real browser `tf-deconv sample`'s."""

import io
import json
import types

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures.browsers import (
    as_a_phone,
    fits_in_width,
    is_kept,
    need_browser,
    open_page,
    save_screenshot,
    serve,
    start_browser,
    wait_for,
    wait_until_kept,
    wait_until_ready,
)
from tests.fixtures.web_pages import write_library
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.web import build
from tf_deconv.generation.generator import Generator, labels_of, sample
from tf_deconv.generation.keras_generator import keras_generator
from tf_deconv.generation.sample import columns_of
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.images import arrays, sheets
from tf_deconv.inference import run_folder
from tf_deconv.networks.flow import build_flow
from tf_deconv.networks.vae import build_vae

TIMES = "\N{MULTIPLICATION SIGN}"
# Neither square nor of one colour each: swapped sides and channels show.
FACTS = {
    "vae": GeneratorSpec("vae", 8, 12, 3, 0, 5, "bernoulli"),
    "flow": GeneratorSpec("flow", 12, 8, 1, 3),
}


SAMPLER = {"steps": 25, "solver": "heun", "guidance": 1.5}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Files by the names that the runtime has."""
    return write_library(tmp_path_factory.mktemp("runtime"))


def write(folder, facts, library):
    (folder / "drawn-float32.tflite").write_bytes(b"network")
    manifest = {"name": "drawn", "task": "generate", "generator": facts.to_json()}
    model = build.PageModel(folder / "drawn-float32.tflite", manifest)
    build.write_web([model], folder / "page", library)
    return folder / "page"


@pytest.mark.parametrize("kind", FACTS)
def test_a_generators_page_tells_what_it_makes(kind, tmp_path, library):
    page = write(tmp_path, FACTS[kind], library)
    facts = json.loads((page / "model.json").read_text())
    assert facts["generator"] == FACTS[kind].to_json()
    assert facts.get("sampler") == (SAMPLER if kind == "flow" else None)
    assert (facts["title"], facts["file"], facts["size_bytes"]) == (
        "drawn",
        "drawn-float32.tflite",
        7,
    )
    assert (
        facts["summary"]
        == {
            "vae": "A variational autoencoder makes colour pictures from a seed.",
            "flow": "A rectified flow makes grey pictures from a seed and a class.",
        }[kind]
    )
    there = {p.relative_to(page).as_posix() for p in page.rglob("*") if p.is_file()}
    assert set(facts["page_files"]) == there
    assert {"noise.js", "sampling.js", "sw.js", "page.js"} <= there
    assert not {"tiles.js", "restore.css"} & there
    for path in page.glob("*.*"):
        if path.suffix in (".html", ".js", ".css"):
            assert "https://" not in path.read_text()


def test_a_page_of_one_kind_takes_the_place_of_the_other(tmp_path, library):
    page = write(tmp_path, FACTS["vae"], library)
    options = dict(web=str(page), web_library=str(library), report=lambda _: None)
    tf_deconv.export("photo-small", **options)
    names = {path.name for path in page.iterdir()}
    assert "tiles.js" in names
    assert not {"noise.js", "sampling.js", "sample.css"} & names


# --- In a browser.


def randomized(model, stddev):
    random = np.random.default_rng(4)
    model.set_weights([random.normal(0, stddev, w.shape).astype("f") for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Small networks as pages below one folder: the generators by their kinds, and the folder."""
    need_browser()
    root = tmp_path_factory.mktemp("web")
    library = build._fetch(root / "fetched").as_posix()
    models = {
        "vae": randomized(build_vae(8, 12, 3, latent=5, filters=(4, 8)), 0.3),
        "flow": randomized(build_flow(12, 8, 1, 3, filters=(4, 8)), 0.15),
    }
    found = types.SimpleNamespace(root=root)
    for kind, facts in FACTS.items():
        folder = root / kind
        folder.mkdir()
        known = dict(task="generate", network=kind, generator=facts.to_json())
        run_folder.save_model(models[kind], folder / "drawn.keras", known)
        options = dict(name="drawn", variants="float32", out=str(folder / "models"))
        options |= dict(web=str(folder / "page"), web_library=library)
        config = ExportConfig(str(folder / "drawn.keras"), **options)
        tf_deconv.export(config, report=lambda line: None)
        setattr(found, kind, keras_generator(models[kind], facts))
    return found


@pytest.fixture
def server(pages):
    with serve(pages.root) as served:
        yield served


@pytest.fixture(scope="module")
def browser(pages, tmp_path_factory):
    with start_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def fill(browser, **values):
    for name, value in values.items():
        browser.execute_script(
            "document.getElementById(arguments[0]).value = arguments[1]", name, str(value)
        )


def generate(browser, **values):
    """Presses the button; returns the pictures on the page, (N, H, W, 3) uint8."""
    fill(browser, **values)
    browser.execute_script("document.getElementById('status').textContent = ''")
    browser.find_element("id", "generate").click()
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('Done')")
    found = browser.execute_script(
        "return [...document.querySelectorAll('#grid canvas')].map((c) => [c.height, c.width,"
        " ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
    )
    pixels = np.array([picture[2:] for picture in found], np.uint8)
    pixels = pixels.reshape(-1, *found[0][:2], 4)
    assert np.all(pixels[..., 3] == 255)
    return pixels[..., :3]


def differs(pixels, expected):
    """Returns by how many grey levels; a test of flat or clipped pictures would prove little."""
    expected = arrays.to_uint8(np.broadcast_to(expected, pixels.shape)).astype(int)
    assert np.mean((expected > 0) & (expected < 255)) > 0.5
    assert expected.std() > 10
    return np.abs(pixels - expected).max()


@pytest.mark.clients
def test_a_vaes_pictures_are_pythons(pages, server, browser):
    open_page(browser, server, "vae/page/")
    for name in ("label", "steps", "solver", "guidance"):
        assert not browser.find_element("id", name).is_displayed()
    pixels = generate(browser, seed=7, count=4)
    assert differs(pixels, sample(pages.vae, 4, 7)) <= 1
    text = browser.find_element("id", "facts").text
    assert text.startswith(f"4 pictures of 12{TIMES}8 pixels from seed 7, ")
    again = generate(browser, seed=2**31 - 1, count=1)
    assert differs(again, sample(pages.vae, 1, 2**31 - 1)) <= 1


@pytest.mark.clients
def test_a_flows_pictures_are_pythons_by_label_solver_and_guidance(pages, server, browser):
    open_page(browser, server, "flow/page/")
    assert browser.find_element("id", "steps").get_attribute("value") == "25"
    assert browser.find_element("id", "solver").get_attribute("value") == "heun"
    labels = [o.text for o in browser.find_elements("css selector", "#label option")]
    assert labels == ["each in turn", "0", "1", "2"]
    in_turn = generate(browser, seed=7, count=4)
    assert differs(in_turn, sample(pages.flow, 4, 7)) <= 1
    captions = browser.find_elements("tag name", "figcaption")
    assert [int(caption.text) for caption in captions] == labels_of(FACTS["flow"], 4).tolist()
    for label, steps, solver, guidance in (
        (2, 3, "euler", 2.5),
        (0, 2, "heun", 0),
        (1, 1, "heun", 4),
    ):
        how = dict(label=label, steps=steps, solver=solver, guidance=guidance)
        pixels = generate(browser, count=3, **how)
        assert differs(pixels, sample(pages.flow, 3, 7, **how)) <= 1
    # The label is heard: otherwise picture 1 would be the same.
    assert np.abs(generate(browser, label=2, steps=25, guidance=1)[1] - in_turn[1]).max() > 10


# Networks whose every sum and product is rounded to float32, in both languages alike.
NETWORK_JS = """
const [generator, options, count, done] = arguments;
const f = Math.fround;
const run = async ({ latent, x, t, label }) => {
  const own = f(0.125 * (label ?? 1));
  if (latent) return Float32Array.from({ length: generator.height }, (_, i) => f(latent[i] * own));
  return x.map((value, i) => f(f(value * f(f(0.7) - own)) + f(t * own)));
};
import(new URL("sampling.js", location)).then(async (m) => {
  const pictures = [];
  for (let i = 0; i < count; i++) {
    pictures.push([...await m.samplePicture(generator, run, i, options)]);
  }
  done(pictures);
}, (error) => done(error.message));
"""


def python_network(facts):
    def own(label, count):
        return np.float32(0.125) * (np.ones(count, "f") if label is None else label.astype("f"))

    def decode(latent, label):
        picture = latent[:, : facts.height] * own(label, len(latent))[:, None]
        return picture.reshape(-1, *facts.shape)

    def velocity(x, t, label):
        wide = own(label, len(x))[:, None, None, None]
        return x * (np.float32(0.7) - wide) + t[:, None, None, None] * wide

    return Generator(facts, decode=decode, velocity=velocity)


@pytest.mark.clients
@pytest.mark.parametrize("classes", [0, 4])
def test_the_steps_are_pythons_to_the_last_bit(server, browser, classes):
    open_page(browser, server, "vae/page/")
    facts = GeneratorSpec("vae", 4, 1, 1, classes, 7, "bernoulli")
    generator, count = python_network(facts), 6
    for label in (None, 2) if classes else (None,):
        options = dict(seed=3, label=label)
        found = browser.execute_async_script(NETWORK_JS, facts.to_json(), options, count)
        expected = sample(generator, count, 3, label=label)
        np.testing.assert_array_equal(np.array(found).reshape(expected.shape), expected)
    facts = GeneratorSpec("flow", 3, 5, 1, classes)
    generator = python_network(facts)
    for steps in (1, 3, 10, 49):
        for solver in ("euler", "heun"):
            for guidance in (0.0, 1.0, 0.3, 3.7) if classes else (1.0,):
                how = dict(label=None, steps=steps, solver=solver, guidance=guidance)
                arguments = (facts.to_json(), how | {"seed": 5}, count)
                found = browser.execute_async_script(NETWORK_JS, *arguments)
                expected = sample(generator, count, 5, **how)
                np.testing.assert_array_equal(np.array(found).reshape(expected.shape), expected)


WRONG = (
    ("seed", -1, "Seed -1: expected a whole number from 0 to 2147483647."),
    ("seed", 2**31, "Seed 2147483648: expected a whole number"),
    ("seed", 1.5, "Seed 1.5: expected"),
    ("seed", "", "Seed: expected"),
    ("count", 0, "Pictures 0: expected a whole number from 1 to 64."),
    ("count", 65, "Pictures 65: expected"),
    ("steps", 0, "Steps 0: expected a whole number from 1 to 1000."),
    ("guidance", -0.5, "Guidance -0.5: expected a number from 0 to 20."),
)


@pytest.mark.clients
def test_a_wrong_number_is_told_and_the_page_goes_on(server, browser):
    open_page(browser, server, "flow/page/")
    good = dict(seed=1, count=2, steps=1, guidance=1.5)
    assert len(generate(browser, **good)) == 2
    status = browser.find_element("id", "status")
    for field, value, expected in WRONG:
        fill(browser, **good | {field: value})
        browser.find_element("id", "generate").click()
        assert status.text.startswith(expected)
        assert "fault" in status.get_attribute("class")
        assert not browser.find_element("id", "result").is_displayed()
        assert browser.switch_to.active_element.get_attribute("id") == field
    assert len(generate(browser, **good)) == 2
    assert "fault" not in status.get_attribute("class")


@pytest.mark.clients
def test_it_can_be_stopped_and_what_was_made_is_kept(server, browser):
    open_page(browser, server, "flow/page/")
    fill(browser, count=64, steps=300)
    button = browser.find_element("id", "generate")
    button.click()
    assert button.text == "Stop"
    wait_for(browser, "return document.querySelectorAll('#grid canvas').length > 0")
    button.click()
    wait_for(browser, "return document.getElementById('status').textContent.startsWith('Stopped')")
    made = len(browser.find_elements("css selector", "#grid canvas"))
    status = browser.find_element("id", "status").text
    assert status == f"Stopped: {made} of 64 pictures were made."
    assert button.text == "Generate"
    assert not browser.find_element("id", "progress").is_displayed()


@pytest.mark.clients
@pytest.mark.parametrize(("kind", "count"), [("vae", 5), ("flow", 10)])
def test_the_grid_is_saved_as_pythons_is(server, browser, kind, count):
    open_page(browser, server, f"{kind}/page/")
    pixels = generate(browser, seed=3, count=count, steps=1)
    png = browser.execute_async_script(
        "const done = arguments[0]; fetch(document.getElementById('download').href)"
        ".then((r) => r.arrayBuffer()).then((b) => done([...new Uint8Array(b)]))"
    )
    saved = np.array(Image.open(io.BytesIO(bytes(png))).convert("RGB"))
    columns = columns_of(FACTS[kind], count, None)
    np.testing.assert_array_equal(saved, sheets.grid(pixels / np.float32(255), columns))
    name = browser.find_element("id", "download").get_attribute("download")
    assert name == "drawn-seed-3.png"


@pytest.mark.clients
def test_the_dice_give_another_seed(server, browser):
    open_page(browser, server, "vae/page/")
    seeds = set()
    for _ in range(5):
        browser.find_element("id", "dice").click()
        seeds.add(int(browser.find_element("id", "seed").get_attribute("value")))
    assert len(seeds) > 1
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.clients
def test_pages_of_two_networks_on_one_host_work_without_a_connection(pages, browser):
    # Their caches had one name: the page that was opened last emptied the other's.
    with serve(pages.root) as served:
        for kind in FACTS:
            open_page(browser, served, f"{kind}/page/")
            # The page is ready before its network is in the cache.
            wait_until_kept(browser)
            assert is_kept(browser, "drawn-float32.tflite")
        address = f"http://127.0.0.1:{served.server_port}"
    for kind in FACTS:
        browser.get(f"{address}/{kind}/page/")
        wait_until_ready(browser)
        assert len(generate(browser, count=2)) == 2


@pytest.mark.clients
def test_it_fits_a_phones_screen(server, browser):
    with as_a_phone(browser) as phone:
        open_page(phone, server, "flow/page/")
        assert fits_in_width(phone)
        generate(phone, count=16, steps=1)
        assert fits_in_width(phone)
        save_screenshot(phone, "sample-phone")
        for name in ("seed", "dice", "count", "label", "steps", "solver", "guidance", "generate"):
            assert phone.find_element("id", name).size["height"] >= 44
        places = [c.rect for c in phone.find_elements("css selector", "#grid canvas")]
        # Rows of four, or so few would be seen at once.
        assert len({place["y"] for place in places[:4]}) == 1
        # Whole multiples of a pixel.
        assert {place["width"] % 8 for place in places} == {0}
        assert {place["height"] % 12 for place in places} == {0}
