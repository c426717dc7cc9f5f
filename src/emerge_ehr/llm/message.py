"""Reads the message of a chat completion: its text without the thoughts beside it, and what it holds in place of an answer."""

import json
from collections.abc import Mapping
from typing import Any

# Where a server has separated the thoughts, it gives them under one of these names: vLLM, SGLang, llama.cpp, DeepSeek, Qwen and
# Kimi "reasoning_content"; newer vLLM, OpenRouter and Groq "reasoning"; Ollama "thinking"; gateways the others.
THOUGHTS = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "reasoning_text",
    "thinking",
    "thinking_blocks",
    "thoughts",
)
TEXT_PARTS = ("text", "output_text")  # any other kind of part is a thought, a refusal, a reference or a picture
# Ways to end without an answer, in the words of the servers; the last of each group is the one that is kept.
CUT_OFF = ("max_tokens", "max_output_tokens", "model_length", "length")
FILTERED = (
    "safety",
    "sensitive",
    "recitation",
    "blocklist",
    "prohibited_content",
    "guardrail_intervened",
    "content_filter",
)
BROKEN_OFF = ("abort", "aborted", "cancelled", "network_error", "insufficient_system_resource", "error")
THOUGHTS_ONLY, REFUSAL, TOOL = "thoughts_only", "refusal", "tool_calls"
BESIDE = (*THOUGHTS, "refusal", "tool_calls", "function_call")  # what may stand beside or in place of the content


def read(choice: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a choice's message, and how it ended: the server's word, or what the message holds in place of a text.

    >>> read({"message": {"content": [{"type": "thinking", "thinking": "..."}, {"type": "text", "text": "{}"}]}})
    ('{}', '')
    >>> read({"message": {"content": None, "reasoning_content": "Let me see."}, "finish_reason": "stop"})
    ('', 'thoughts_only')
    """
    message = choice["message"]
    said, ended = text(message.get("content")), _ended(choice.get("finish_reason"))
    if message.get("refusal") or _has_part(message, "refusal"):
        return said, REFUSAL
    if said.strip() or ended in (CUT_OFF[-1], FILTERED[-1], BROKEN_OFF[-1]):
        return said, ended
    if message.get("tool_calls") or message.get("function_call"):
        return "", TOOL
    beside = any(message.get(name) for name in THOUGHTS) or isinstance(message.get("content"), list | dict)
    return "", THOUGHTS_ONLY if beside else ended


def _ended(reason: object) -> str:
    """The server's reason, one word for reasons that mean the same."""
    word = str(reason or "").lower()
    return next((group[-1] for group in (CUT_OFF, FILTERED, BROKEN_OFF) if word in group), word)


def text(content: Any) -> str:
    """The content as text: that of its text parts, where it comes in parts."""
    if isinstance(content, list):
        return "".join(map(_of_part, content))
    if isinstance(content, dict):  # one part, or an object that the server has read already
        return _of_part(content) if {"type", "text"} & content.keys() else json.dumps(content)
    return "" if content is None else str(content)


def _of_part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("thought") or part.get("type", "text") not in TEXT_PARTS:
        return ""
    text = part.get("text")
    return str(text.get("value") or "") if isinstance(text, dict) else str(text or "")


def _has_part(message: Mapping[str, Any], kind: str) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(isinstance(part, dict) and part.get("type") == kind for part in content)
