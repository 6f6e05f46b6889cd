# SPDX-License-Identifier: MIT
"""What an operator does in the first ten minutes, and every day after."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_house import *  # noqa: E402,F401,F403
