"""Tiny models of the architectures that the configs name, with random weights and a tokenizer trained here."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CORPUS = [
    "acute kidney failure with sepsis and pneumonia in the left lung of the patient",
    "congestive heart failure, chronic obstructive pulmonary disease and diabetes mellitus",
    "the patient was admitted with fever, cough and hypotension; blood cultures grew bacteria",
] * 10
ROBERTA = {"vocab": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "template": "<s> $A </s>"}
FAMILIES: dict[str, dict[str, Any]] = {
    "longformer": ROBERTA
    | {"special": {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}},
    "xlm_roberta": ROBERTA
    | {"special": {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}},
    "modernbert": {
        "vocab": ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"],
        "template": "[CLS] $A [SEP]",
        "special": {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"},
    },
    "qwen3": {
        "vocab": ["<|endoftext|>", "<|im_end|>"],
        "template": "$A <|endoftext|>",
        "special": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    },
}
SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def tokenizer(family: str, longest: int) -> Any:
    """A byte-pair tokenizer with the family's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = FAMILIES[family]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=made["vocab"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    used = [(token, bpe.token_to_id(token)) for token in made["vocab"] if token in made["template"]]
    bpe.post_processor = processors.TemplateProcessing(single=made["template"], special_tokens=used)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, model_max_length=longest, **made["special"])


def model(family: str, vocabulary: int) -> Any:
    """The transformer of the family, small; every one reads 64 tokens."""
    import torch
    import transformers as t

    torch.manual_seed(7)
    size = {**SIZE, "vocab_size": vocabulary}
    if family == "longformer":
        positions = {"max_position_embeddings": 66, "pad_token_id": 1, "attention_window": [8, 8]}
        return t.LongformerModel(t.LongformerConfig(**size, **positions), add_pooling_layer=False)
    if family == "xlm_roberta":
        config = t.XLMRobertaConfig(**size, max_position_embeddings=66, pad_token_id=1)
        return t.XLMRobertaModel(config, add_pooling_layer=False)
    if family == "modernbert":
        ids = {"pad_token_id": 2, "cls_token_id": 0, "sep_token_id": 1, "bos_token_id": 0, "eos_token_id": 1}
        return t.ModernBertModel(t.ModernBertConfig(**size, **ids, max_position_embeddings=64, local_attention=8))
    heads = {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}
    return t.Qwen3Model(t.Qwen3Config(**size, **heads, pad_token_id=0))


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one model folder a family, and ``sentence``: the XLM-R one with the modules of BGE-M3."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    root = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        own = tokenizer(family, 64 if family != "qwen3" else 10**30)
        own.save_pretrained(root / family)
        built = model(family, len(own))
        with torch.no_grad():  # the usual spread of 0.02 makes all vectors nearly alike
            for weight in built.parameters():
                if weight.dim() > 1:
                    weight.mul_(8)
        built.save_pretrained(root / family)
    _sentence_model(root / "xlm_roberta", root / "sentence")
    yield root


def _sentence_model(transformer: Path, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    modules = [Transformer(str(transformer)), Pooling(32, pooling_mode="cls"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    settings = folder / "config_sentence_transformers.json"
    prompts = {"prompts": {"query": "find: ", "document": ""}}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | prompts))
