"""What a model is asked, and what it should answer: one object writes the text of training and of inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...core.errors import UsageError

PREAMBLE = "Below is an instruction that describes a task"
WITH_INPUT = f"{PREAMBLE}, paired with an input that provides further context. "
WITHOUT_INPUT = f"{PREAMBLE}. "
REQUEST = "Write a response that appropriately completes the request."
NONE_WORD = "none"

# Everything that ends a line for some reader, and the backslash that says so.
_BREAKS = "\n\r\t\v\f\x00\x1c\x1d\x1e\x85\u2028\u2029"
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPES = {"\\": "\\\\", **{mark: _NAMED.get(mark, f"\\u{ord(mark):04x}") for mark in _BREAKS}}
_QUOTED = str.maketrans({**_ESCAPES, '"': '\\"'})
_PLAIN = str.maketrans(_ESCAPES)


@dataclass(frozen=True)
class Template:
    """The words around titles.

    name: "plain", a line for each title and a ">", a few tokens for a model that learns its language from them; "alpaca", the
    instruction of Alpaca with the sentences of D3's data, their typing errors kept; "alpaca_released", the same with every block
    after the preamble indented by four spaces in training and not at inference, as CFT's released code has it.
    category: what an item is called ("movie"). null: what the counterfactual prompt x_0 is: "drop" takes the history away with all
    that speaks of it (with "alpaca" the preamble changes too, as released), "none_word" puts the word "none" in its place.

    Titles are escaped, so that a title is always inside its line and its quotes, whatever it holds.
    """

    name: Literal["plain", "alpaca", "alpaca_released"]
    category: str
    null: Literal["drop", "none_word"] = "drop"

    def factual(self, titles: Sequence[str], *, training: bool = False) -> str:
        """x_h, the prompt with a history, oldest first; of an empty history the counterfactual one."""
        if not titles:
            return self.counterfactual(training=training)
        return self._prompt(self._history([self._title(title) for title in titles]), training)

    def counterfactual(self, *, training: bool = False) -> str:
        """x_0, the same for every user."""
        return self._prompt(self._history([NONE_WORD]) if self.null == "none_word" else "", training)

    def response(self, title: str) -> str:
        """What is generated for an item, without the end token."""
        return self._title(title) if self.name == "plain" else f"{self._title(title)}\n"

    def title(self, response: str) -> str:
        """The title that a generated response means: the inverse of `response`, and the nearest thing to it for any other text."""
        text = next(iter((response if self.name == "plain" else response.strip()).splitlines()), "")
        return _unescaped(text if self.name == "plain" else text.strip().removeprefix('"').removesuffix('"'))

    def _title(self, title: str) -> str:
        if not title.strip():
            raise UsageError("an item has an empty title, which a language model cannot name; give every item a title")
        return title.translate(_PLAIN) if self.name == "plain" else f'"{title.translate(_QUOTED)}"'

    def _history(self, titles: Sequence[str]) -> str:
        if self.name == "plain":
            return "".join(f"{title}\n" for title in titles)
        return f"The user has palyed the following {self.category}s before: {', '.join(titles)}"

    def _prompt(self, history: str, training: bool) -> str:
        if self.name == "plain":
            return f"{history}>"
        instruction = (
            f"Given a list of {self.category} the user recetenly enjoy, please write a new {self.category} that the user may bought"
        )
        blocks = {"Instruction": instruction, "Input": history, "Response": ""}
        lines = [line for name, text in blocks.items() if text or name == "Response" for line in (f"### {name}:", text, "")][:-2]
        indent = "    " if training and self.name == "alpaca_released" else ""
        lines = [indent + line if line else line for line in lines]
        return "\n".join([(WITH_INPUT if history else WITHOUT_INPUT) + REQUEST, "", *lines, indent])


def _unescaped(text: str) -> str:
    found: list[str] = []
    place = 0
    named = {written[1]: mark for mark, written in _NAMED.items()} | {"\\": "\\", '"': '"'}
    while place < len(text):
        mark, after = text[place], text[place + 1 : place + 2]
        digits = text[place + 2 : place + 6]
        if mark == "\\" and after in named:
            found.append(named[after])
            place += 2
        elif mark == "\\" and after == "u" and len(digits) == 4 and all(each in "0123456789abcdef" for each in digits):
            found.append(chr(int(digits, 16)))
            place += 6
        else:
            found.append(mark)
            place += 1
    return "".join(found)
