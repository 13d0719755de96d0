"""Exports a trained run as SavedModel and TFLite: `python export.py --help`."""

import sys

from tf_deconv.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
