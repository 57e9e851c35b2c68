"""``python -m clipx`` is the command ``clipx``."""

import sys

from clipx.cli import main

if __name__ == "__main__":
    sys.exit(main())
