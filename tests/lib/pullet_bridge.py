# SPDX-License-Identifier: MIT
"""An engine with bridge networks, for a network namespace of its own."""

import subprocess

from pullet_engine import Engine
from pullet_sweep import LabError

class BridgedEngine(Engine):
    """With the default bridge; arguments: more for dockerd."""

    def __init__(self, lab, name="bridged", arguments=()):
        self.arguments = arguments
        super().__init__(lab, name)

    def start(self):
        spawn = self.lab.spawn

        def with_bridge(command, **options):
            if "--bridge" in command:
                at = command.index("--bridge")
                command = [*command[:at], *command[at + 2:], *self.arguments]
            return spawn(command, **options)

        self.lab.spawn = with_bridge
        try:
            super().start()
        finally:
            self.lab.spawn = spawn

    def docker(self, *arguments):
        """Runs the command-line client of the engine."""
        enter = self.enter
        command = [*enter, "docker", "-H", self.url, *map(str, arguments)]
        environment = {**self.lab.environment, "PATH": "/usr/bin:" + self.lab.environment["PATH"],
                       "DOCKER_CONTEXT": ""}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise LabError(f"{' '.join(command[len(enter) + 3:])}: {done.stderr}")
        return done.stdout.strip()
