"""Text to token ids and back, where no text can name a token that means something to the model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UsageError
from .extra import need

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RULES, FACTS = "tokenizer.json", "title_tokenizer.json"


@dataclass(frozen=True)
class TitleTokenizer:
    """The rules of a `tokenizers` file; `end`, the id that closes a response; `front`, the ids that open a prompt (often none).

    Special tokens are set by id alone: "<|im_end|>" in a title is text like any other.
    """

    rules: Tokenizer
    end: int
    front: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.rules.encode_special_tokens = True
        self.rules.no_padding()
        self.rules.no_truncation()

    @property
    def size(self) -> int:
        """How many ids there are, the end among them."""
        return max(self.rules.get_vocab_size(), self.end + 1)

    def encode(self, text: str) -> list[int]:
        """The ids of a text alone, nothing added. Raises UsageError where the text would hold the end."""
        ids: list[int] = self.rules.encode(text, add_special_tokens=False).ids
        if self.end in ids:
            raise UsageError(f"the text {text[:60]!r} holds what this tokenizer reads as the end of a text; clean it")
        return ids

    def prompt(self, text: str) -> list[int]:
        """The ids of a prompt: what the model expects in front, then the text."""
        return [*self.front, *self.encode(text)]

    def response(self, text: str) -> list[int]:
        """The ids of a response, which the end closes."""
        return [*self.encode(text), self.end]

    def decode(self, ids: Iterable[int]) -> str:
        """The text before the first end."""
        kept: list[int] = []
        for each in ids:
            if each == self.end:
                break
            kept.append(int(each))
        return self.rules.decode(kept, skip_special_tokens=False)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, and `title_tokenizer.json` beside it."""
        (folder / RULES).write_text(self.rules.to_str(), encoding="utf-8")
        (folder / FACTS).write_text(json.dumps({"end": self.end, "front": self.front}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TitleTokenizer:
        """The inverse of `save`."""
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        return cls(need("tokenizers").Tokenizer.from_file(str(folder / RULES)), facts["end"], tuple(facts["front"]))


def trained(texts: Sequence[str], vocabulary: int) -> TitleTokenizer:
    """Byte-level BPE (Sennrich et al. 2016, over bytes) of at most `vocabulary` ids, the last of them the end.

    Any text can be written in it. Raises UsageError for fewer ids than the 256 bytes and the end.
    """
    tokenizers = need("tokenizers")
    if vocabulary < 257:
        raise UsageError(f"a byte-level vocabulary of {vocabulary} cannot hold the 256 bytes and the end; take 257 or more")
    rules = tokenizers.Tokenizer(tokenizers.models.BPE())
    rules.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocabulary - 1, initial_alphabet=alphabet, show_progress=False)
    rules.train_from_iterator(texts, trainer)
    return TitleTokenizer(rules, end=rules.get_vocab_size())
