"""Variants, profiles and sizes as they are asked for."""

import pytest

from tf_deconv.exporting import config
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.variants import PROFILES, VARIANTS, parse_sizes, parse_variants
from tf_deconv.utils.options import UserError


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("28", ((28, 28),)),
        ("28,256x384, 512", ((28, 28), (256, 384), (512, 512))),
        ("64,64x64", ((64, 64),)),
    ],
)
def test_sizes_are_read(text, sizes):
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "28,", "0", "64x", "x64", "-4", "64x64x3", "9999", "large"])
def test_what_is_no_size_is_one_line(text):
    with pytest.raises(UserError, match=r"is not a size; expected sides from 1 to 8192"):
        parse_sizes(text)


def test_variants_come_in_the_order_of_the_table():
    assert parse_variants("int8 float32", "cpu") == ("float32", "int8")
    assert parse_variants("int8,float32", "cpu") == ("float32", "int8")


def test_all_variants_of_a_profile_are_made_when_none_is_named():
    assert parse_variants(None, "cpu") == tuple(VARIANTS)
    for profile in ("gpu", "web"):
        assert set(VARIANTS) - set(parse_variants(None, profile)) == {"int8-full"}


def test_every_wrong_name_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"'flaot32' \(did you mean 'float32'\?\).*; variants='q'"):
        parse_variants("flaot32 q int8", "cpu")
    with pytest.raises(UserError, match=r"'int8-full'.*with --profile web"):
        parse_variants("int8-full", "web")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"profile": "phone"}, "profile='phone'"),
        ({"sizes": "big"}, "'big' is not a size"),
        ({"variants": "int4"}, "variants='int4'"),
    ],
)
def test_export_options_are_checked_before_tensorflow_loads(options, expected):
    with pytest.raises(UserError, match=expected):
        config.check_export_config(ExportConfig(**options))


def test_tables_tell_what_their_entries_are():
    assert all(entry.summary for entry in (*VARIANTS.values(), *PROFILES.values()))
