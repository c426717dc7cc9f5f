"""Where the checkout is, its entry point, and the open data beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAIN = ROOT / "src" / "main.py"
SHARED = ROOT.parent / "shared" / "data"  # a user's checkout has none; what needs it is skipped there
