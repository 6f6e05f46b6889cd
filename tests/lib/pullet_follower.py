# SPDX-License-Identifier: MIT
"""A machine on which pullet follows one image. Follower is a mixin for machines with sh(script, check) and
write(path, text): namespaces (pullet_machine.py) or emulated devices (pullet_qemu.py)."""

import itertools
import json

from pullet_image import actor
from pullet_sweep import wait_for

CREATE = {"HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}}


class Follower:
    """Its container is app, and follows app:stable."""
    patience, pause = 90.0, 0.1
    platform = None  # this machine's own
    files = {}  # bytes in an image beside its program
    versions = itertools.count(1)
    digests = {}  # version -> digest

    def ref(self, registry):
        return registry.ref("app:stable")

    def configure(self, registry, more="", **settings):
        settings = {"image": self.ref(registry), "health-period": "500ms", "create": "app.json",
                    **{key.replace("_", "-"): value for key, value in settings.items()}}
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        self.write("/etc/pullet/conf.d/app.json", json.dumps(CREATE))
        self.write("/etc/pullet/conf.d/app.conf", f"[agent]\ninterval = 1s\n{more}\n[container app]\n{lines}")

    def publish(self, registry, *script):
        """-> the name of the version, which is also a label of the image."""
        version = str(next(self.versions))
        image = actor("say", "version " + version, *(script or ("wait",)), files=self.files,
                      platform=self.platform, Labels={"version": version})
        self.digests[version] = registry.publish("app", "stable", image).digest
        return version

    def inspect(self):
        text = self.sh("docker inspect app", check=False)
        return json.loads(text)[0] if text else None

    def version(self):
        """The version that runs: the label of its image, or None."""
        app = self.inspect()
        return app["Config"]["Labels"]["version"] if app and app["State"]["Running"] else None

    def settle(self, version):
        """Waits until the container runs that version, alone and complete, and no update is under way."""
        def settled():
            record = self.record()
            return record["phase"] == "idle" and (record["current"] or {}).get("digest") == self.digests[version]

        wait_for(f"version {version}", settled, self.patience, self.pause)
        app = self.inspect()
        assert app["State"]["Running"] and app["Config"]["Labels"]["version"] == version, app
        assert app["HostConfig"]["RestartPolicy"]["Name"] == "always", app
        assert self.sh("docker ps -a --format '{{.Names}}'").split() == ["app"]

    def record(self):
        text = self.sh("cat /var/lib/pullet/app.json", check=False)
        return json.loads(text) if text else {"phase": None}

    def phase(self, *phases):
        """Waits until the record has one of these phases."""
        return wait_for(phases, lambda: self.record()["phase"] in phases, self.patience, 0.02)

    def show(self, unit, *properties):
        lines = self.sh(f"systemctl show {unit} " + " ".join("-p " + name for name in properties)).splitlines()
        return dict(line.split("=", 1) for line in lines)
