"""``python -m website build/website`` writes the pages and the builder's config there; ``make docs`` then builds the site."""

import sys
from pathlib import Path

from website.pages import write

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(f"{folder}: {len(write(folder).pages)} pages written")
