"""The command line over the invented paper: `python toydrive.py run toy --profile smoke ...`."""

from __future__ import annotations

import json
import os
import sys

import craftbench.benchmarks.backends.local as local
import craftbench.benchmarks.backends.ray as ray
import craftbench.benchmarks.catalogue as catalogue
import toybench
from craftbench.cli import main

local.PRELOAD = "toypreload"  # no torch, so that a driver starts in half a second
ray._HEAD_SECONDS = 5.0
catalogue.benchmark = lambda name: toybench.toy(**json.loads(os.environ.get("TOY_PROFILE", "{}")))

if __name__ == "__main__":
    sys.argv[0] = "craftbench"
    main()
