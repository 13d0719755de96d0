#!/usr/bin/env bash
# PyAV's wheel has x264 and x265, which are GPL, and none of FFmpeg's filters that need the same licence.
#
# Expected: FFmpeg builds x264 and x265 in only with --enable-gpl, and with that its filters under the
#   GPL too: hqdn3d, eq, boxblur, delogo, cropdetect and others.
# Seen: the encoders work; the filters are not there: "hqdn3d" is no filter, nlmeans (LGPL) is one.
# Versions: PyAV 18.1.0, its wheel for Linux, x86-64.
# Consequence: a filter graph that runs in FFmpeg's program ends with "no filter hqdn3d"; the denoiser
#   that films are usually compared with has to run in a program beside.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
"$work/venv/bin/python" - <<'PY'
import av, av.filter

print("PyAV", av.__version__, "libavfilter", ".".join(map(str, av.library_versions["libavfilter"])))
GPL = ("hqdn3d", "eq", "boxblur", "delogo", "cropdetect", "smartblur", "spp", "owdenoise", "kerndeint")
FREE = ("nlmeans", "bm3d", "atadenoise", "yadif", "bwdif", "unsharp")
encoders = [name for name in ("libx264", "libx265") if av.Codec(name, "w").is_encoder]
print("encoders under the GPL:", ", ".join(encoders))
there = {name: name in av.filter.filters_available for name in (*GPL, *FREE)}
print("filters:", ", ".join(f"{name} {'there' if found else 'missing'}" for name, found in there.items()))
try:
    av.filter.Graph().add("hqdn3d", "4")
    raised = "nothing"
except Exception as error:
    raised = f"{type(error).__name__}: {error}"
print("Graph().add('hqdn3d'):", raised)
assert encoders == ["libx264", "libx265"], "changed: other encoders"
assert not any(there[name] for name in GPL), "changed: some are there"
assert all(there[name] for name in ("nlmeans", "yadif", "unsharp")), "changed: others are missing"
print("as described")
PY
