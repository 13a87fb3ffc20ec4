"""What the fork server of a test imports: no torch, so that it starts in half a second."""

from __future__ import annotations

import pyarrow
import toybench

__all__ = ["toybench"]

pyarrow.table({"value": [0.0]})  # the first table imports pandas and more
