"""The tokenizer of a `transformers` checkpoint as a TitleTokenizer."""

from __future__ import annotations

from typing import Any

from ...core.errors import UsageError
from .extra import need
from .tokenizer import TitleTokenizer


def adopted(tokenizer: Any, place: str) -> TitleTokenizer:
    """Its rules, its end of text, and what it puts in front of a text. Raises UsageError where it has no end or no rules."""
    end = tokenizer.eos_token_id
    rules: Any = getattr(tokenizer, "backend_tokenizer", None)
    if end is None or not isinstance(rules, need("tokenizers").Tokenizer):
        lacks = "names no end of text (eos_token)" if end is None else "is not of the `tokenizers` kind (tokenizer.json)"
        raise UsageError(f"the tokenizer of {place} {lacks}; a title could not be closed with it")
    alone = tokenizer("a", add_special_tokens=False).input_ids
    whole = tokenizer("a", add_special_tokens=True).input_ids
    front = whole[: next(k for k in range(len(whole)) if whole[k : k + len(alone)] == alone)]
    return TitleTokenizer(rules, end, tuple(front))
