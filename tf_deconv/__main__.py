"""`python -m tf_deconv` is the command `tf-deconv`."""

import sys

from tf_deconv.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
