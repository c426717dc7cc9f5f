"""negspaCy as a peer of benchmarks/entities.py, which starts this script in the environment of negspaCy.

Input: a JSON object per line with ``text``, ``start`` and ``end`` of a mention. Output: a line with the peer's ``name``, then a
line with the ``status`` of each mention, which negspaCy knows to be negated or not. Its terms are the default ones. A blank
English model splits the sentences at full stops, which on the tuning half did better than to split them at line ends too.
"""

import json
import sys
from importlib.metadata import version

import spacy
from negspacy.negation import Negex  # noqa: F401 - the import makes the component "negex" known to spaCy


def main() -> None:
    """Answer each line."""
    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    pipeline.add_pipe("negex")
    print(json.dumps({"name": f"negspaCy {version('negspacy')}"}))
    for line in sys.stdin:
        mention = json.loads(line)
        document = pipeline.make_doc(mention["text"])
        span = document.char_span(mention["start"], mention["end"], label="DISEASE", alignment_mode="expand")
        document.ents = [span]
        read = pipeline(document).ents[0]
        print(json.dumps({"status": "negated" if read._.negex else "present"}))


if __name__ == "__main__":
    main()
