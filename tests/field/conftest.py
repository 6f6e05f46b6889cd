# SPDX-License-Identifier: MIT
"""What users of update agents ran into: one test a case, named after what the user did."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_house import *  # noqa: E402,F401,F403
