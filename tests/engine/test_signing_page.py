# SPDX-License-Identifier: MIT
"""The ten lines of pullet-signing(7), from nothing to a signed fleet, run as they stand, with the tools of Debian 13; and the
commands that its examples of a CI run for each version."""

import os
import pathlib
import re
import subprocess

import pytest

import pullet_cosign
from pullet_cosign import Cosign
from pullet_house import UP
from pullet_image import actor
from pullet_signer import signing  # noqa: F401 (a fixture)

TOP = pathlib.Path(__file__).resolve().parents[2]
IMAGE = "registry.example:5000/app"


@pytest.fixture
def tool(lab, house):
    """A machine of the owner's with cosign and skopeo, for which the registry is reachable without TLS."""
    if pullet_cosign.missing("trixie"):
        pytest.skip(pullet_cosign.missing("trixie"))
    tool = Cosign(lab, "trixie", [house.registry.address], f"owner-{house.number}")
    settings = tool.directory / ".config/containers/registries.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[[registry]]\nlocation = "{house.registry.address}"\ninsecure = true\n')
    return tool


def shell(tool, script, **variables):
    return tool.run("sh", "-euc", script, env=variables)


def ten_lines():
    """The first example of the page, as a shell reads it."""
    page = (TOP / "packaging/man/pullet-signing.7").read_text()
    lines = re.search(r"^\.SH EXAMPLES.*?^\.EX\n(.*?)^\.EE", page, re.M | re.S)[1].splitlines()
    assert len(lines) == 10, lines
    return [line.replace("\\-", "-").replace("\\e", "\\").replace("\\(aq", "'") for line in lines]


def device(house, root, command):
    """pullet and pulletd of a device that has only what the package brought."""
    (root / "etc/pullet/pullet.conf").write_text(f"[agent]\nengine = {house.engine.url}\n")
    house.pullet.config = root / "etc/pullet/pullet.conf"
    program, *words = command.split()
    return subprocess.run([house.pullet.build / program, *words, "--config", house.pullet.config, "--state-dir", house.pullet.state],
                          capture_output=True, text=True, check=False, env={**os.environ, **house.lab.environment})


def test_ten_lines(house, signing, tool):
    house.adopt()  # the fleet as it is
    mine = house.registry.ref(house.repository)
    published = house.registry.publish(house.repository, "build-42", actor("say", "build 42", "wait"))
    lines = [line.replace(IMAGE, mine) for line in ten_lines()]
    shell(tool, "\n".join(lines[:7]))
    image_line = next(line for line in lines if line.startswith("image="))
    package = lines[7].replace("packaging/config-deb", f"{TOP}/packaging/config-deb --pullet {house.pullet.build}/pullet")
    done = subprocess.run(["sh", "-euc", image_line + "\n" + package], cwd=tool.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    deb = re.fullmatch(r"apt install \./(\S+)", lines[8])[1]
    root = house.pullet.directory / "root"
    subprocess.run(["dpkg-deb", "-x", tool.directory / deb, root], check=True)
    done = device(house, root, lines[9].replace("$image", mine))
    assert done.returncode == 0 and "yes, signed by prod.pub" in done.stdout, done
    house.once("updated", timeout=200)
    assert house.is_image(house.engine.inspect("app"), published)
    assert signing.signed_by() == ["prod.pub"]
    # And what the page says of it: somebody who may push, but has no key, changes nothing.
    house.publish()
    house.once("refused", reason="signature: ")
    assert house.is_image(house.engine.inspect("app"), published)
    assert device(house, root, f"pullet verify {mine}:stable").returncode == 1


def ci_lines(name):
    """The commands of an example between its marks."""
    text = (TOP / "packaging/examples" / name).read_text()
    block = re.search(r"# publish\n(.*?)# end", text, re.S)[1]
    return "\n".join(line.strip() for line in block.splitlines())


@pytest.mark.parametrize("name", ["sign-github.yml", "sign-gitlab.yml"])
def test_a_ci(house, signing, tool, name):
    """Each run publishes, signs, and moves the tag; a run that is started again may do so, too; an older one may not."""
    key = tool.key_pair("prod")
    (signing.directory / "prod.pub").write_bytes(key.public.read_bytes())
    house.configure(create=UP, key="prod.pub")
    mine = house.registry.ref(house.repository)

    def release(number):
        """The image as the job before has built it."""
        house.registry.publish(house.repository, f"raw-{number}", actor("say", f"build {number}", "wait"))
        (tool.directory / "app.tar").unlink(missing_ok=True)
        shell(tool, f"skopeo copy --all docker://{mine}:raw-{number} oci-archive:app.tar")
        return shell(tool, ci_lines(name), IMAGE=mine, BUILD=f"build-{number}", SEQ=str(number), GITHUB_RUN_NUMBER=str(number), GITHUB_RUN_ATTEMPT="1",
                     COSIGN_KEY=key.private.read_text(), COSIGN_PASSWORD="")

    for number in (41, 42):
        release(number)
        house.once("updated")
        assert signing.signed_by() == ["prod.pub"]
    release(40)
    assert "seq" in house.once("refused")["reason"]
