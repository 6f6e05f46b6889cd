# SPDX-License-Identifier: MIT
"""Black-box tests of the contract, on a real engine and a real registry."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from pullet_house import *  # noqa: E402,F401,F403
