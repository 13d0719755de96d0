"""Checks what `make dist` built: `python .ci/check_dist.py dist [--tag v1.2.3] [--notes FILE]`.

DIST holds the source archive, the wheel that was built from it, and in `checkout/` the wheel that
was built from the checkout. Ends with 1 and one line for each thing that is wrong.
"""

import argparse
import pathlib
import re
import sys
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What package indexes take without being asked.
LARGEST_BYTES = 100 * 2**20
# Besides the package, the models and the metadata that setuptools writes.
IN_THE_ARCHIVE = {
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "MANIFEST.in",
    "PKG-INFO",
    "README.md",
    "pyproject.toml",
    "requirements/restore.txt",
    "setup.cfg",
    "setup.py",
}


def main() -> int:
    """Returns 0 if all is right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=pathlib.Path)
    parser.add_argument("--tag", help="that the version must match, such as v1.2.3")
    parser.add_argument("--notes", type=pathlib.Path, help="where to write the release's notes")
    options = parser.parse_args()
    version = re.search(r'__version__ = "(.*)"', text("tf_deconv/__init__.py"))[1]
    wheel, archive = single(options.dist, "*.whl"), single(options.dist, "*.tar.gz")
    faults = [
        *wheels_differ(wheel, single(options.dist / "checkout", "*.whl")),
        *wheel_lacks(wheel),
        *archive_is_not_as_told(archive, version),
        *version_is_not_everywhere(version, wheel, archive, options.tag),
    ]
    for path in (wheel, archive):
        size = path.stat().st_size
        print(f"{path.name}: {size / 1e6:.1f} MB")
        if size > LARGEST_BYTES:
            faults.append(f"{path.name} has {size} bytes: expected {LARGEST_BYTES} at most")
    if options.notes:
        options.notes.write_text(section(version), encoding="utf-8")
    for fault in faults:
        print(f"wrong: {fault}", file=sys.stderr)
    return 1 if faults else 0


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def single(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder}: expected one {pattern}, found {len(found)}: run `make dist`")
    return found[0]


def wheels_differ(first: pathlib.Path, second: pathlib.Path) -> list[str]:
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as other:
        names, other_names = set(one.namelist()), set(other.namelist())
        lone = sorted(names ^ other_names)
        unequal = sorted(name for name in names & other_names if one.read(name) != other.read(name))
    return [
        *(f"one wheel alone, of source archive and checkout, holds {name}" for name in lone),
        *(f"{name} is another one in the wheel of the source archive" for name in unequal),
    ]


def wheel_lacks(wheel: pathlib.Path) -> list[str]:
    """Compares the wheel with the package's and the shipped models' files in this folder."""
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tf_deconv").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }
    sys.path.insert(0, str(ROOT))
    from tf_deconv.inference.shipped import MODELS, WHEEL_FOLDER

    for name in MODELS:
        folder = ROOT / "saved_models" / name
        files = [path for path in folder.rglob("*") if path.is_file()]
        if not files:
            return [f"the model {name} is not in saved_models"]
        for path in files:
            expected.add(f"tf_deconv/{WHEEL_FOLDER}/{name}/{path.relative_to(folder).as_posix()}")
    return [
        *(f"the wheel lacks {name}" for name in sorted(expected - held)),
        *(f"the wheel holds {name}, which is no file here" for name in sorted(held - expected)),
    ]


def archive_is_not_as_told(archive: pathlib.Path, version: str) -> list[str]:
    with tarfile.open(archive) as file:
        names = {member.name for member in file.getmembers() if member.isfile()}
    inside = {name.partition("/")[2] for name in names}
    places = ("tf_deconv/", "saved_models/", "tf_deconv.egg-info/")
    others = {name for name in inside if not name.startswith(places)}
    faults = [f"{name} is in the source archive" for name in sorted(others - IN_THE_ARCHIVE)]
    faults += [f"the source archive lacks {name}" for name in sorted(IN_THE_ARCHIVE - others)]
    if not all(name.startswith(f"tf_deconv-{version}/") for name in names):
        faults.append(f"not all of the source archive is in tf_deconv-{version}")
    return faults


def version_is_not_everywhere(
    version: str, wheel: pathlib.Path, archive: pathlib.Path, tag: str | None
) -> list[str]:
    faults = []
    if wheel.name != f"tf_deconv-{version}-py3-none-any.whl":
        faults.append(f"{wheel.name}: expected version {version}")
    if archive.name != f"tf_deconv-{version}.tar.gz":
        faults.append(f"{archive.name}: expected version {version}")
    if tag is not None and tag != f"v{version}":
        faults.append(f"tag {tag}: expected v{version}, the version in tf_deconv/__init__.py")
    if not section(version):
        faults.append(f"CHANGELOG.md has no section [{version}]")
    return faults


def section(version: str) -> str:
    """Returns what CHANGELOG.md tells of a version, "" if it tells nothing."""
    pattern = rf"^## \[{re.escape(version)}\] - \S+\n(.*?)(?=^## \[|\Z)"
    found = re.search(pattern, text("CHANGELOG.md"), re.DOTALL | re.MULTILINE)
    return found[1].strip() + "\n" if found else ""


if __name__ == "__main__":
    sys.exit(main())
