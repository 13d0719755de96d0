"""How long a stranger waits: from `git clone` to the first restored photograph, all included.

    python benchmarks/first_minutes.py [--picture PICTURE] [--source REPOSITORY]

runs the README's first commands, word for word, in a fresh clone and a fresh virtual environment,
and prints the seconds of each and of all. pip's cache is left out, so every package is downloaded.
`--picture` is one of your own in place of the README's.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def readme_commands(readme: str) -> list[str]:
    """Returns the lines of the first block of shell commands."""
    return re.search(r"```sh\n(.*?)```", readme, re.DOTALL).group(1).splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=pathlib.Path)
    parser.add_argument("--source", default=str(ROOT), help="what is cloned")
    options = parser.parse_args()
    install, restore = readme_commands((ROOT / "README.md").read_text(encoding="utf-8"))
    if options.picture:
        restore = f"{restore.rsplit(' ', 1)[0]} '{options.picture.resolve()}'"
    environment = {**os.environ, "PIP_NO_CACHE_DIR": "1"}
    environment.pop("PYTHONPATH", None)
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        clone = pathlib.Path(folder, "clone")
        for command, place in (
            (f"git clone -q '{options.source}' '{clone}'", folder),
            (install, clone),
            (restore, clone),
        ):
            began = time.perf_counter()
            subprocess.run(command, shell=True, check=True, cwd=place, env=environment)
            seconds = time.perf_counter() - began
            total += seconds
            print(f"{seconds:6.1f} s  {command}", flush=True)
        results = sorted(pathlib.Path(clone, "restored").iterdir())
        print(f"{total:6.1f} s  to {', '.join(path.name for path in results)}")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
