"""What the fork server of a test imports: no torch, so that it starts in half a second."""

from __future__ import annotations

import pandas
import toybench

__all__ = ["pandas", "toybench"]
