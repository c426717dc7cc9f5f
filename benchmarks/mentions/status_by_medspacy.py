"""medspaCy as a peer of benchmarks/entities.py, which starts this script in the environment of medspaCy.

Input: a JSON object per line with ``text``, ``start`` and ``end`` of a mention. Output: a line with the peer's ``name``, then a
line with the ``status`` of each mention: of what its ConText and its sections say, the first in the order of precedence of our
rules. Its rules are the default ones. "Uncertain" is read as hypothetical, which on the tuning half did better than as present.
"""

import json
import sys
from importlib.metadata import version

import medspacy
from loguru import logger

COMPONENTS = {"medspacy_tokenizer", "medspacy_pyrush", "medspacy_context", "medspacy_sectionizer"}
STATUSES = {
    "is_family": "family",
    "is_negated": "negated",
    "is_hypothetical": "hypothetical",
    "is_uncertain": "hypothetical",
    "is_historical": "historical",
}


def main() -> None:
    """Answer each line."""
    logger.remove()  # PyRuSH reports what it does with every sentence
    pipeline = medspacy.load(medspacy_enable=COMPONENTS)
    print(json.dumps({"name": f"medspaCy {version('medspacy')}"}))
    for line in sys.stdin:
        mention = json.loads(line)
        document = pipeline.make_doc(mention["text"])
        span = document.char_span(mention["start"], mention["end"], label="DISEASE", alignment_mode="expand")
        document.ents = [span]
        read = pipeline(document).ents[0]
        status = next((status for attribute, status in STATUSES.items() if getattr(read._, attribute)), "present")
        print(json.dumps({"status": status}))


if __name__ == "__main__":
    main()
