"""The packages of the extra [llm], which language models need and nothing else here does."""

from __future__ import annotations

import importlib
import os
from typing import Any

from ...core.errors import UsageError

IMPORTS = ("transformers.models.llama.modeling_llama", "tokenizers")  # what a cell of a language model loads


def need(name: str) -> Any:
    """The module of that name. Raises UsageError where the extra is not installed."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a cell computes with one thread, and may be forked
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or name).partition(".")[0]
        raise UsageError(f"language models need the package {missing!r}; run: pip install 'craftbench[llm]'") from None
    if name == "transformers":
        module.utils.logging.disable_progress_bar()
    return module
