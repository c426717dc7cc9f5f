"""``python -m website build/website`` writes the pages and the builder's config there; ``make docs`` then builds the site."""

import argparse
import sys
from pathlib import Path

from emerge_ehr.fields import UserError
from website.pages import write


def main(argv: list[str] | None = None) -> int:
    """Write the pages. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m website", description="Writes the pages of the website.")
    parser.add_argument("folder", type=Path, help="a new folder, or one that was made by this")
    folder = parser.parse_args(argv).folder
    try:
        print(f"{folder}: {len(write(folder).pages)} pages written")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
