# SPDX-License-Identifier: MIT
"""The real cosign 2.5 and skopeo 1.18 of Debian 13, and cosign 3.1 of sid: each suite in a tree that is made once and kept
beside those of the engines. They run in a network namespace that has loopback and the registries of the test, and nothing else.

    pullet_cosign.py [SUITE...]    makes the trees"""

import json
import os
import socket
import subprocess
import sys
import threading

import pullet_engines
from pullet_network import own_network
from pullet_signer import Key, words
from pullet_sweep import LabError
from pullet_versions import pump

SUITES = {"trixie": "2.5", "sid": "3.1"}
PACKAGES = ["cosign", "skopeo"]
NO_LOG = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json", "rekorTlogConfig": {}, "tsaConfig": {}}

# Files of the test are in /mnt; nothing else of the tree is written.
_ENTER = """
set -e
tree=$1 directory=$2; shift 2
mount --bind "$directory" "$tree/mnt"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/tmp"
exec chroot "$tree" sh -c 'cd /mnt && exec "$@"' sh "$@"
"""


def tree(suite):
    return pullet_engines.cache() / ("cosign-" + suite)


def make_tree(suite, log=None):
    return pullet_engines.debian(tree(suite), suite, PACKAGES, log)


def missing(suite):
    """Why there is no cosign of that suite, or None."""
    if os.geteuid() != 0:
        return "a program in a tree needs root"
    if not tree(suite).is_dir():
        return f"{tree(suite)} is not there: `tests/lib/pullet_cosign.py {suite}` makes it"
    return None


class Loopback:
    """A network namespace with loopback, where these addresses (127.0.0.1:PORT) lead to the same ones outside."""

    def __init__(self, lab, addresses):
        self._listeners = []
        with own_network():
            self.file = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            for address in addresses:
                host, port = address.rsplit(":", 1)
                self._listeners.append((socket.create_server((host, int(port))), (host, int(port))))
        for listener, target in self._listeners:
            threading.Thread(target=self._accept, args=(listener, target), daemon=True).start()
        lab.add(self)

    def stop(self):
        for listener, _ in self._listeners:
            listener.close()
        os.close(self.file)

    def _accept(self, listener, target):
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(target, timeout=10)
            except OSError:
                return
            server.settimeout(None)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=pump, args=(source, sink), daemon=True).start()


class Cosign:
    """cosign and skopeo of one suite, and a directory where their keys are."""

    def __init__(self, lab, suite, addresses, name=None):
        if missing(suite):
            raise LabError(missing(suite))
        self.lab, self.suite = lab, suite
        self.directory = lab.path(name or f"cosign-{suite}")
        self.directory.mkdir()
        self.network = Loopback(lab, addresses)
        (self.directory / "no-log.json").write_text(json.dumps(NO_LOG))
        (self.directory / "password").write_text("")
        registries = self.directory / "registries.d"
        registries.mkdir()
        (registries / "default.yaml").write_text("default-docker:\n  use-sigstore-attachments: true\n")

    def attempt(self, *command, env=None):
        """Runs a command -> subprocess.CompletedProcess"""
        return subprocess.run(
            ["nsenter", f"--net=/proc/self/fd/{self.network.file}", "unshare", "-m", "sh", "-c", _ENTER, "sh",
             str(tree(self.suite)), str(self.directory), *map(str, command)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120, pass_fds=[self.network.file],
            env={**self.lab.environment, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/mnt", "COSIGN_PASSWORD": "",
                 "TUF_ROOT": "/mnt/tuf", **(env or {})})

    def run(self, *command, env=None):
        done = self.attempt(*command, env=env)
        if done.returncode:
            raise LabError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def version(self):
        return self.run("cosign", "version")

    # -- keys

    def key_pair(self, name):
        """A pair of cosign's own. -> Key, which cannot sign without cosign"""
        self.run("cosign", "generate-key-pair", "--output-key-prefix", name)
        return self._key(name)

    def skopeo_key_pair(self, name):
        """As key_pair(), by skopeo."""
        self.run("skopeo", "generate-sigstore-key", "--output-prefix", name, "--passphrase-file", "password")
        (self.directory / (name + ".private")).rename(self.directory / (name + ".key"))
        return self._key(name)

    def take(self, key):
        """The public key of another signer, for verify()."""
        (self.directory / key.public.name).write_bytes(key.public.read_bytes())

    def _key(self, name):
        key = Key.of_files(self.directory / (name + ".key"), self.directory / (name + ".pub"))
        assert key.public.read_text().startswith("-----BEGIN PUBLIC KEY-----\n")
        return key

    # -- signatures. at: HOST/PATH@DIGEST

    def _annotations(self, annotations):
        return [word for key, value in words(annotations).items() for word in ("-a", f"{key}={value}")]

    def sign_classic(self, at, key, *flags, env=None, **annotations):
        new = ["--use-signing-config=false", "--new-bundle-format=false"] if self.suite == "sid" else []
        return self.run("cosign", "sign", "--key", key.name + ".key", *new, "--tlog-upload=false", "-y", *flags,
                        *self._annotations(annotations), at, env=env)

    def sign_bundle(self, at, key, *flags, env=None, **annotations):
        return self.run("cosign", "sign", "--key", key.name + ".key", "--signing-config", "no-log.json", "-y", *flags,
                        *self._annotations(annotations), at, env=env)

    def sign_skopeo(self, source, target, key, identity):
        """Copies an image, all platforms, and signs them and the index; an identity is HOST/PATH:TAG."""
        return self.run("skopeo", "--insecure-policy", "--registries.d", "registries.d", "copy", "--all", "--preserve-digests",
                        "--src-tls-verify=false", "--dest-tls-verify=false", "--sign-by-sigstore-private-key",
                        key.name + ".key", "--sign-passphrase-file", "password", "--sign-identity", identity,
                        "docker://" + source, "docker://" + target)

    def attest(self, at, key):
        """An attestation, which is no signature of an image."""
        (self.directory / "predicate.json").write_text("{}")
        new = ["--signing-config", "no-log.json"] if self.suite == "sid" else ["--tlog-upload=false"]
        return self.run("cosign", "attest", "--key", key.name + ".key", *new, "-y", "--predicate", "predicate.json",
                        "--type", "https://example.org/a-test-report/v1", at)

    def sign_blob(self, data, key):
        """-> what cosign writes of a signed file: base64 of a signature (2.5), or a bundle (3.1)"""
        (self.directory / "blob").write_bytes(data)
        new = (["--signing-config", "no-log.json", "--bundle", "blob.out"] if self.suite == "sid"
               else ["--tlog-upload=false", "--output-signature", "blob.out"])
        self.run("cosign", "sign-blob", "--key", key.name + ".key", *new, "-y", "blob")
        return (self.directory / "blob.out").read_bytes()

    def verify(self, at, key, *flags):
        """Whether cosign itself takes it -> (yes or no, what it printed)"""
        self.take(key) if key.public.parent != self.directory else None
        done = self.attempt("cosign", "verify", "--key", key.public.name, "--insecure-ignore-tlog=true", *flags, at)
        return done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    try:
        for suite in sys.argv[1:] or SUITES:
            make_tree(suite)
    except pullet_engines.EngineError as error:
        sys.exit(f"pullet_cosign: {error}")
