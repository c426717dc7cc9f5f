"""Finds the files of a pretrained model, identifies them, and fetches them in stage ``download``.

A model is given by a local folder, or by its name on the Hugging Face hub together with a commit. Hub models are in the hub
library's cache (``HF_HOME``, by default ``~/.cache/huggingface``), so that other programs' copies are used. Only ``download``
connects to the hub; all other functions read the folder on disk.
"""

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import checksum, first_line

# Raised by the libraries for weights that are damaged or hold anything but tensors.
UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, UnpicklingError, SafetensorError)
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
# Without any of these files, transformers makes a tokenizer that knows no word.
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
CONFIGURATION = ("*.json", "*.txt", "*.model")
SAFE_WEIGHTS, PICKLED_WEIGHTS = "*.safetensors", "pytorch_model*.bin"
# Exports for other runtimes, as large as the model, which we never read.
OTHER_FORMATS = ("onnx/*", "openvino/*", "original/*", "coreml/*", "gguf/*")


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder, and its identity: ``name@commit``, or ``sha256:...`` for a local folder."""

    folder: Path
    identity: str


def require_library(library: str, plug: str) -> None:
    """Check that the optional ``library`` is installed, which ``plug`` needs.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec(library) is None:
        raise UserError(f"{plug} needs the library {library}: uv sync --extra lm, or pip install '.[lm]'")


def locate(model: str, revision: str | None, where: str) -> ModelFiles:
    """The model's files on this disk; ``where`` opens every error message.

    Raises:
        UserError: they are missing, or ``revision`` is not a commit.
    """
    if Path(model).is_dir():
        if revision is not None:
            raise UserError(
                f"{where}: model = '{model}' is a folder on this disk; revision is for hub names, remove it"
            )
        _require_tokenizer(Path(model), where)
        return ModelFiles(Path(model), f"sha256:{_digest(Path(model))}")
    _require_commit(model, revision, where)
    require_library("huggingface_hub", where)
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = _snapshot(model, revision, True, where)
    except LocalEntryNotFoundError:
        raise UserError(
            f"{where}: model '{model}' at {revision} is not on this disk, or not all of it; run --stage download with a "
            "network, or copy the model here and set model to its folder"
        ) from None
    _require_tokenizer(folder, where)
    return ModelFiles(folder, f"{model}@{revision}")


def _require_tokenizer(folder: Path, where: str) -> None:
    if not any(path.name in TOKENIZERS for path in folder.rglob("*")):
        raise UserError(f"{where}: {folder} holds no tokenizer ({', '.join(TOKENIZERS)}); copy all files of the model")


def require_same(files: ModelFiles, identity: str, saved: Path) -> None:
    """Check that ``files`` are the model of an encoder that was saved in the file ``saved``.

    Raises:
        UserError: they are another model.
    """
    if files.identity != identity:
        raise UserError(
            f"{saved}: was made with model {identity}, but {files.folder} holds {files.identity}; put the first model there, or "
            "run --stage preprocess again"
        )


def download(model: str, revision: str | None, offline: bool, where: str) -> None:
    """Fetch a hub model; offline, or for a local folder, only check that it is there.

    Raises:
        UserError: it is missing, and must not or cannot be fetched.
    """
    if offline or Path(model).is_dir():
        locate(model, revision, where)
        return
    _require_commit(model, revision, where)
    require_library("huggingface_hub", where)
    from httpx2 import HTTPError
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError, XetDownloadError

    try:
        _snapshot(model, revision, False, where)
    except RevisionNotFoundError:
        raise UserError(
            f"{where}: '{model}' has no commit {revision}; see https://huggingface.co/{model}/commits/main"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(f"{where}: the hub knows no model '{model}', or it needs an access token (HF_TOKEN)") from None
    except (OSError, HTTPError, XetDownloadError) as error:
        raise UserError(f"{where}: could not fetch model '{model}' from the hub: {first_line(error)}") from None


def _snapshot(model: str, revision: str | None, local: bool, where: str) -> Path:
    """The folder with all files that a model needs, fetched unless ``local``; if files are missing, the hub library raises.

    The weights are safetensors if there are any, otherwise PyTorch's pickle, which transformers reads with ``weights_only``.
    """
    from huggingface_hub import snapshot_download

    for weights in (SAFE_WEIGHTS, PICKLED_WEIGHTS):
        folder = snapshot_download(
            model,
            revision=revision,
            local_files_only=local,
            allow_patterns=[*CONFIGURATION, weights],
            ignore_patterns=[*OTHER_FORMATS],
        )
        if any(Path(folder).glob(weights)):
            return Path(folder)
    raise UserError(f"{where}: '{model}' at {revision} holds neither {SAFE_WEIGHTS} nor {PICKLED_WEIGHTS}")


def _require_commit(model: str, revision: str | None, where: str) -> None:
    if not HUB_NAME.fullmatch(model):
        raise UserError(f"{where}: model = '{model}' is neither a folder on this disk nor a hub name (owner/name)")
    if revision is None or not COMMIT.fullmatch(revision):
        raise UserError(
            f"{where}: model = '{model}' is not a folder on this disk, and a hub name needs revision = its commit "
            f"(40 hexadecimal digits, https://huggingface.co/{model}/commits/main), not {revision!r}: branches move"
        )


def _digest(folder: Path) -> str:
    """A hash of the names and contents of all files of a model, in 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and any(path.match(pattern) for pattern in (*CONFIGURATION, SAFE_WEIGHTS, PICKLED_WEIGHTS)):
            whole.update(f"{path.relative_to(folder).as_posix()} {checksum(path)}\n".encode())
    return whole.hexdigest()[:16]
