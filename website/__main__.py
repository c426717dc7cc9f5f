"""Write the site's pages and the builder's config into a folder: ``python -m website build/website``; ``make docs`` then builds them."""

import sys
from pathlib import Path

from website.pages import write

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(f"{folder}: {len(write(folder).pages)} pages written")
