"""``python src/main.py``: the command line, from a checkout that need not be installed."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (an older Python would end in a traceback of something that it lacks)
    sys.stderr.write("error: Python 3.11 or later is needed, and this is " + sys.version.split()[0] + "\n")
    sys.exit(2)

from emerge_ehr.cli import main

if __name__ == "__main__":
    sys.exit(main())
