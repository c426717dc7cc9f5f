"""Cuts texts by a model's own tokens."""

from collections.abc import Sequence
from typing import Any

from emerge_ehr.fields import UserError

# Model types whose learned positions begin after the padding token's index, so that the positions up to it are never used.
POSITIONS_AFTER_PADDING = ("camembert", "longformer", "roberta", "xlm-roberta", "xlm-roberta-xl")
WITHOUT_LIMIT = 10**9  # tokenizers without a limit give a number beyond this


def longest_input(config: Any, tokenizer: Any) -> int:
    """The most tokens that the model reads, special ones included: the smaller of its positions and its tokenizer's limit."""
    positions = int(config.max_position_embeddings)
    if config.model_type in POSITIONS_AFTER_PADDING:
        positions -= int(config.pad_token_id) + 1
    return min(positions, int(tokenizer.model_max_length)) if tokenizer.model_max_length < WITHOUT_LIMIT else positions


def limit(own: int | None, max_tokens: int | None, special: int, where: str) -> int:
    """The most tokens of a text: ``max_tokens`` if set, otherwise the model's ``own`` limit.

    Raises:
        UserError: the model reads fewer, or ``special`` tokens leave no room for the text.
    """
    if own is None and max_tokens is None:
        raise UserError(f"{where}: the model does not say how many tokens it reads; set max_tokens")
    longest = own or max_tokens or 0
    chosen = max_tokens or longest
    if not special < chosen <= longest:
        raise UserError(f"{where}: max_tokens = {chosen}: this model reads {special + 1} to {longest} tokens")
    return chosen


def split(tokenizer: Any, text: str, size: int) -> list[str]:
    """``text`` in literal pieces of ``size`` tokens; only white space between them is dropped."""
    if not text.strip():
        return []
    offsets: Sequence[tuple[int, int]] = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
    )["offset_mapping"]
    starts = [offsets[at][0] for at in range(0, len(offsets), size)]
    pieces = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [piece.strip() for piece in pieces if piece.strip()]
