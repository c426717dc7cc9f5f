"""``python src/main.py``: the command line, from a checkout that need not be installed."""

import sys

from emerge_ehr.cli import main

if __name__ == "__main__":
    sys.exit(main())
