# SPDX-License-Identifier: MIT
"""docker compose, version 1 of Debian 12 and version 2 of later suites, and a compose project.

    pullet_compose.py SUITE...    downloads docker-compose of these suites into the cache"""

import json
import subprocess
import sys

import pullet_engines

PROGRAM = "usr/libexec/docker/cli-plugins/docker-compose"  # also runs without docker, by itself
V1 = "/usr/bin/docker-compose"


def kept(suite):
    return pullet_engines.cache() / f"docker-compose-{suite}"


def program(suite):
    """The path of a Debian suite's docker-compose in the cache, whether it exists or not."""
    return V1 if suite == "bookworm" else str(kept(suite) / PROGRAM)


def bring(suite):
    """Downloads the package alone, from the Debian mirror of this machine. It needs only libc."""
    pullet_engines.bring_package(kept(suite), suite, "docker-compose")


class Project:
    """One compose file in a directory of its own, and the command."""

    def __init__(self, lab, engine, suite, name):
        self.lab, self.engine, self.name = lab, engine, name
        self.program, self.v1 = program(suite), suite == "bookworm"
        self.directory = lab.path(name)
        self.directory.mkdir()
        self.environment = {}

    def write(self, services, **more):
        # YAML is a superset of JSON.
        (self.directory / "docker-compose.yml").write_text(
            json.dumps({"services": services, **more}, indent=1))

    def container(self, service, number=1):
        return ("_" if self.v1 else "-").join([self.name, service, str(number)])

    def _run(self, arguments):
        return subprocess.run(
            [self.program, "--ansi", "never", *arguments],
            cwd=self.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
            env={**self.lab.environment, "DOCKER_HOST": self.engine.url,
                 "HOME": str(self.directory), **self.environment})

    def __call__(self, *arguments):
        """-> its output."""
        done = self._run(arguments)
        assert done.returncode == 0, f"docker-compose {' '.join(arguments)}:\n{done.stdout}"
        return done.stdout

    def status(self, *arguments):
        """The exit status of a command that may fail; its output is printed for the test report."""
        done = self._run(arguments)
        print(f"docker-compose {' '.join(arguments)}: status {done.returncode}\n{done.stdout}")
        return done.returncode

    def containers(self):
        """Name -> inspect of all that carry the project's label."""
        out = {}
        for name in self.engine.containers():
            inspect = self.engine.inspect(name)
            if inspect and inspect["Config"]["Labels"].get("com.docker.compose.project") == self.name:
                out[name] = inspect
        return out

    def lives(self):
        """Values that change when a container is recreated or restarted."""
        return {name: (inspect["Id"], inspect["State"]["StartedAt"], inspect["RestartCount"])
                for name, inspect in self.containers().items()}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        bring(argument)
