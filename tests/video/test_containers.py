"""The table of containers, and the page that shows it."""

import re

import pytest

from tests.fixtures.films import make_frames, write_film
from tf_deconv.video import codecs, containers


def test_the_page_tells_of_every_container_what_it_is_written_with(repository):
    page = (repository / "docs" / "video.md").read_text(encoding="utf-8")
    rows = {}
    for names, suffixes, written, first in re.findall(
        r"^\| ([\w, -]+) \| (\.[^|]*) \| ([^|]*) \| (\w+) \|$", page, re.MULTILINE
    ):
        for name in names.split(", "):
            rows[name] = written, first
            for suffix in containers.CONTAINERS[name].suffixes:
                assert suffix in suffixes
    written = {name: entry for name, entry in containers.CONTAINERS.items() if entry.muxer}
    assert set(rows) == set(written)
    for name, entry in written.items():
        assert set(rows[name][0].split(", ")) == set(entry.codecs), name
        assert rows[name][1] == entry.codecs[0]
        assert set(entry.codecs) <= set(codecs.CODECS)
    others = {name for name, entry in containers.CONTAINERS.items() if not entry.muxer}
    assert others == {"MPEG-PS", "MPEG video", "Ogg", "Flash", "GIF"}
    for name, entry in containers.CONTAINERS.items():
        target = containers.CONTAINERS[entry.becomes]
        assert target.muxer is not None, name
        assert (entry.muxer is None) == (target is not entry), name


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("MP4", b"\0\0\0\x18ftypisom" + bytes(8)),
        ("M4V", b"\0\0\0\x18ftypM4V " + bytes(8)),
        ("MOV", b"\0\0\0\x18ftypqt  " + bytes(8)),
        ("3GP", b"\0\0\0\x18ftyp3gp4" + bytes(8)),
        ("MOV", b"\0\0\0\x08wide\0\0\0\0mdat" + bytes(8)),
        ("WebM", b"\x1aE\xdf\xa3\x9f\x42\x82\x84webm"),
        ("Matroska", b"\x1aE\xdf\xa3\xa3\x42\x82\x88matroska"),
        ("AVI", b"RIFF\0\0\0\0AVI LIST"),
        ("MPEG-TS", b"G" + bytes(187) + b"G" + bytes(187) + b"G" + bytes(187) + b"G"),
        ("MPEG-TS", bytes(4) + 4 * (b"G" + bytes(191))),
        ("MPEG-PS", b"\0\0\x01\xba" + bytes(20)),
        ("Ogg", b"OggS" + bytes(24) + b"\x80theora"),
        ("Flash", b"FLV\x01\x05"),
        ("ASF", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9"),
        ("GIF", b"GIF89a"),
    ],
)
def test_a_container_is_told_from_its_first_bytes(name, head):
    assert containers.sniff(head).name == name


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"#EXTM3U\n",
        b"ffconcat version 1.0",
        b"OggS\0\x02vorbis",
        b"\0\0\0\x18ftypM4A " + bytes(8),
        b"\0\0\0\x18ftypavif" + bytes(8),
    ],
)
def test_what_is_no_film_is_none(head):
    assert containers.sniff(head) is None


@pytest.mark.parametrize("name", codecs.CODECS)
def test_every_codec_is_written_in_every_container_that_names_it(tmp_path, name):
    pytest.importorskip("av")
    from tf_deconv.images.files import Job
    from tf_deconv.inference import film_job
    from tf_deconv.inference.film_sinks import FilmOptions
    from tf_deconv.video import reading

    class Same:
        warm_up = 0

        def begin(self, height, width):
            return self

        def restore(self, frame):
            return frame

        def end(self):
            return ()

    source = write_film(tmp_path / "in.mp4", make_frames(4, 144, 176))
    for container in containers.CONTAINERS.values():
        if name not in container.codecs:
            continue
        target = tmp_path / f"{container.name}{container.suffixes[0]}"
        options = FilmOptions(codec=name, threads=1)
        told = film_job.restore_film(Same(), 1, Job(source, target), options)
        assert told.frames == 4
        with reading.open_film(target) as film:
            assert film.codec.startswith(name), container.name
            assert len(list(film.decode())) == 4
            assert film.container.demuxer == container.demuxer
