"""Turns texts into vectors with a transformer: cuts them into windows of tokens, computes the last states and pools them.

Dimensions: N texts, W windows of these, L tokens, D width. Windows are padded at their end, for every family of models: a mask
hides the padding, and a causal model does not look ahead, so Qwen3's last token is the last one under the mask.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.embeddings._models.batches import backing_off
from emerge_ehr.embeddings._models.model_files import UNREADABLE
from emerge_ehr.embeddings._models.precision import Placement
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line

Pooling = Literal["cls", "mean", "last_token"]
POOLER = "pooler."  # a head that some checkpoints lack; we do not use it


@dataclass(frozen=True)
class Windows:
    """``tokens``: a list of ids per window, special tokens included; ``text [W]``: the number of the window's text, ascending;
    ``weight [W]``: the number of the window's tokens, without special ones."""

    tokens: Sequence[Sequence[int]]
    text: NDArray[np.int64]
    weight: NDArray[np.float64]

    def first_of_each(self) -> "Windows":
        """The first window of every text."""
        first = np.unique(self.text, return_index=True)[1]
        return Windows([self.tokens[at] for at in first], self.text[first], self.weight[first])


def instructed(instruction: str | None) -> str:
    """The prefix of a query that has this instruction.

    >>> instructed("Name the disease"), instructed(None)
    ('Instruct: Name the disease\\nQuery:', '')
    """
    return "" if instruction is None else f"Instruct: {instruction}\nQuery:"


def read_config(folder: Path, where: str) -> Any:
    """The model's configuration.

    Raises:
        UserError: it is missing or damaged, or the model needs code of its own.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{where}: {folder} holds no model this library knows: {first_line(error)}") from None
    absent = [name for name in ("hidden_size", "max_position_embeddings") if name not in config.to_dict()]
    if absent:
        raise UserError(f"{where}: {folder}: config.json has no {absent[0]}; is it a text model?")
    return config


def read_tokenizer(folder: Path, where: str) -> Any:
    """The model's fast tokenizer, which gives the positions of tokens in the text.

    Raises:
        UserError: there is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{where}: {folder} holds no tokenizer: {first_line(error)}") from None
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise UserError(f"{where}: {folder}: needs a fast tokenizer (tokenizer.json) with a padding token")
    return tokenizer


def require_room(tokenizer: Any, rows: int, folder: Path, where: str) -> None:
    """Check that the model's embedding has a row for each of the tokenizer's tokens.

    Raises:
        UserError: it has fewer: the two are of different models, and a text with such a token would end the run midway.
    """
    needed = max(tokenizer.get_vocab().values()) + 1
    if needed > rows:
        raise UserError(
            f"{where}: {folder}: the tokenizer has {needed} tokens, the model's embedding {rows} rows (vocab_size in "
            "config.json); copy all files of one model"
        )


def read_model(folder: Path, placement: Placement, where: str) -> Any:
    """The transformer without a head, in evaluation mode. Weights are safetensors, or a pickle that may hold only tensors.

    Raises:
        UserError: weights are missing or damaged.
    """
    from transformers import AutoModel

    with quiet():
        try:
            model, report = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                dtype=placement.dtype(),
                output_loading_info=True,
            )
        except UNREADABLE as error:
            raise UserError(f"{where}: {folder}: the model cannot be read: {first_line(error)}") from None
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(POOLER))
    if missing:
        raise UserError(f"{where}: {folder}: {len(missing)} weights are missing, {missing[0]} among them")
    model.config.use_cache = False  # decoders would keep what generating a next token needs
    return model.eval().to(placement.device_here())


@contextmanager
def quiet() -> Iterator[None]:
    """A block without transformers' own progress bars and reports, such as those about heads that are not used."""
    from logging import ERROR

    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def windows(tokenizer: Any, texts: Sequence[str], limit: int) -> Windows:
    """The texts in windows of ``limit`` tokens, special ones included, without overlap; at least one window per text."""
    cut = tokenizer(list(texts), truncation=True, max_length=limit, stride=0, return_overflowing_tokens=True)
    special = tokenizer.num_special_tokens_to_add()
    tokens = cut["input_ids"]
    text = np.array(cut["overflow_to_sample_mapping"], dtype=np.int64)
    weight = np.array([max(1, len(ids) - special) for ids in tokens], dtype=np.float64)
    return Windows(tokens, text, weight)


def states(
    model: Any, tokenizer: Any, tokens: Sequence[Sequence[int]], pooling: Pooling, at_once: int
) -> NDArray[np.float32]:
    """``[W, D]``: the pooled last states of each window; at most ``at_once`` tokens at a time, padding included."""
    result: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(tokens)
    order = sorted(range(len(tokens)), key=lambda window: -len(tokens[window]))
    at = 0
    while at < len(order):
        batch = order[at : at + max(1, at_once // len(tokens[order[at]]))]
        pooled = backing_off(
            batch, lambda part: _forward(model, tokenizer.pad_token_id, [tokens[window] for window in part], pooling)
        )
        for window, row in zip(batch, pooled, strict=True):
            result[window] = row
        at += len(batch)
    return np.stack(result)


def _forward(model: Any, pad: int, tokens: Sequence[Sequence[int]], pooling: Pooling) -> NDArray[np.float32]:
    """``[n, D]``: the pooled last states of n windows, as one batch."""
    import torch

    length = max(map(len, tokens))
    ids = torch.tensor([[*window, *[pad] * (length - len(window))] for window in tokens], device=model.device)
    mask = torch.tensor([[1] * len(window) + [0] * (length - len(window)) for window in tokens], device=model.device)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model.config.model_type == "longformer":  # its authors' setting for one vector per text
        inputs["global_attention_mask"] = torch.zeros_like(mask).index_fill(1, torch.tensor([0], device=mask.device), 1)
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state.float()
        if pooling == "mean":
            weight = mask.unsqueeze(2).float()
            pooled = (states * weight).sum(dim=1) / weight.sum(dim=1)
        else:
            position = mask.sum(dim=1) - 1 if pooling == "last_token" else torch.zeros_like(mask[:, 0])
            pooled = states[torch.arange(len(tokens), device=mask.device), position]
        return np.asarray(pooled.cpu().numpy(), dtype=np.float32)


def mean_of_windows(vectors: NDArray[np.float32], windows: Windows, normalize: bool) -> NDArray[np.float32]:
    """``[N, D]``: the mean of each text's windows, weighted by their number of tokens; of length one if ``normalize``."""
    texts = int(windows.text[-1]) + 1
    total = np.zeros((texts, vectors.shape[1]))
    np.add.at(total, windows.text, vectors * windows.weight[:, None])
    mean = total / np.bincount(windows.text, weights=windows.weight)[:, None]
    if normalize:
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return mean.astype(np.float32)
