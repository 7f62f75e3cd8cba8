"""``python -m signseg_utils`` is the command ``signseg``."""

import sys

from signseg_utils.cli import main

if __name__ == "__main__":
    sys.exit(main())
