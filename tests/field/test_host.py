# SPDX-License-Identifier: MIT
"""Nothing is stopped that could not be started again, and what the host refuses blames no image."""

import ctypes
import os
import socket
import stat
import subprocess

from pullet_house import layers_read
from pullet_image import Image, program

ALWAYS = {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}}
AGAIN = "so the container could not be started again"


class Node:
    def __init__(self, house, name="ttyACM0"):
        self.path = house.lab.path(f"{name}-{house.number}")
        self.plug()
        self.devices = [{"PathOnHost": str(self.path), "PathInContainer": "/dev/thing",
                         "CgroupPermissions": "rwm"}]

    def plug(self):
        os.mknod(self.path, stat.S_IFCHR | 0o666, os.makedev(1, 3))

    def unplug(self):
        self.path.unlink()


def start_of(house, **host):
    house.adopt(HostConfig={**ALWAYS, **host})
    house.configure()
    house.once("up-to-date")
    return house.engine.inspect("app")


def deferred_then_updated(house, before, second, named, mend):
    """Deferred twice with the name of what is missing; nothing happens, and the next poll after the repair goes on."""
    for _ in range(2):
        house.once("deferred", reason=named)
        house.untouched(before)
    assert not house.pullet.record("app")["rejected"]
    mend()
    house.once("updated")
    house.check(second, policy="always")


def test_an_unplugged_usb_device_leaves_the_container_running(house):  # case 2
    node = Node(house)
    before = start_of(house, Devices=node.devices)
    second = house.publish()
    node.unplug()
    deferred_then_updated(house, before, second, f"{node.path} is not there, {AGAIN}", node.plug)


def test_a_disk_whose_speed_is_limited_is_unplugged(house):
    """docker run --device-read-bps"""
    disk = house.lab.path(f"disk-{house.number}")

    def plug():
        os.mknod(disk, stat.S_IFBLK | 0o660, os.makedev(7, 0))

    plug()
    before = start_of(house, BlkioDeviceReadBps=[{"Path": str(disk), "Rate": 1 << 20}])
    second = house.publish()
    disk.unlink()
    deferred_then_updated(house, before, second, f"{disk} is not there, {AGAIN}", plug)


def test_a_device_that_is_an_empty_directory_now(house):
    """The engine makes one where nothing was, if somebody binds it."""
    node = Node(house)
    before = start_of(house, Devices=node.devices)
    second = house.publish()
    node.unplug()
    node.path.mkdir()
    deferred_then_updated(house, before, second, f"{node.path} is a directory without a device, {AGAIN}",
                          lambda: (node.path.rmdir(), node.plug()))


def test_a_source_that_is_gone_is_not_made_anew_as_an_empty_directory(house):
    data = house.lab.path(f"data-{house.number}")
    data.mkdir()
    before = start_of(house, Binds=[f"{data}:/data"])
    second = house.publish()
    data.rmdir()
    deferred_then_updated(house, before, second, f"{data} is not there, {AGAIN}", data.mkdir)


def test_a_disk_that_was_unmounted(house):
    disk = house.lab.path(f"disk-{house.number}")
    (disk / "db").mkdir(parents=True)

    def mount():
        subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
        (disk / "db").mkdir()

    mount()
    try:
        before = start_of(house, Mounts=[{"Type": "bind", "Source": str(disk / "db"), "Target": "/db"}])
        second = house.publish()
        subprocess.run(["umount", "-l", disk], check=True)
        deferred_then_updated(house, before, second, f"{disk}/db is not what the container has mounted", mount)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_file_that_is_a_directory_now(house):
    """An engine makes one where nothing was, and editors and playbooks write a new file in the old one's place."""
    conf = house.lab.path(f"conf-{house.number}")
    conf.write_text("1")
    start_of(house, Binds=[f"{conf}:/conf:ro"])
    conf.unlink()
    conf.write_text("2")
    first = house.publish()
    house.once("updated")
    before = house.check(first)
    second = house.publish()
    conf.unlink()
    conf.mkdir()
    deferred_then_updated(house, before, second, f"{conf} was replaced by what cannot be mounted at /conf, {AGAIN}",
                          lambda: (conf.rmdir(), conf.write_text("3")))


def test_a_directory_of_a_volume_that_is_gone(house):
    """docker volume create --opt type=none --opt o=bind --opt device=DIRECTORY"""
    disk, name = house.lab.path(f"volume-{house.number}"), f"volume-{house.number}"
    disk.mkdir()
    house.engine.call("POST", "/volumes/create", {
        "Name": name, "DriverOpts": {"type": "none", "o": "bind", "device": str(disk)}})
    before = start_of(house, Binds=[f"{name}:/data"])
    second = house.publish()
    disk.rmdir()
    deferred_then_updated(house, before, second, f"volume {name}: {disk} is not there, {AGAIN}", disk.mkdir)


def test_a_file_system_whose_server_died(house):
    """sshfs, rclone or mergerfs: transport endpoint is not connected."""
    remote = house.lab.path(f"remote-{house.number}")
    remote.mkdir()
    before = start_of(house, Binds=[f"{remote}:/data"])
    second = house.publish()
    libc = ctypes.CDLL(None, use_errno=True)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
    assert libc.mount(b"none", os.fsencode(remote), b"fuse", 0, options) == 0, ctypes.get_errno()
    os.close(fuse)
    deferred_then_updated(house, before, second, f"{remote} cannot be reached: ",
                          lambda: subprocess.run(["umount", "-l", remote], check=True))


def test_a_log_that_nothing_takes(house):
    """The engine connects to it at each start."""
    path = house.lab.path(f"log-{house.number}")

    def listen():
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(path))
        return sock

    sock = listen()
    before = start_of(house, LogConfig={"Type": "syslog", "Config": {"syslog-address": f"unixgram://{path}"}})
    second = house.publish()
    sock.close()
    mended = []
    named = f"nothing listens at {path}, {AGAIN}"
    deferred_then_updated(house, before, second, named, lambda: (path.unlink(), mended.append(listen())))


def test_the_device_goes_in_the_middle_and_comes_back(house):  # case 2
    """It goes between the look and the start: the old one takes a second to stop."""
    node = Node(house)
    house.adopt(StopSignal="SIGUSR1", HostConfig={**ALWAYS, "Devices": node.devices})
    house.configure(stop_timeout="1s")
    house.once("up-to-date")
    second = house.publish()
    process = house.pullet.spawn("--once", "--json")
    try:
        house.engine.wait("app.next", bool)
        node.unplug()
        assert process.wait(120) == 1
    finally:
        house.pullet.kill9(process)
    record = house.pullet.record("app")
    assert not record["rejected"] and record["phase"] == "revert", record
    assert str(node.path) in house.once("failed", reason="the old container cannot be started either")["reason"]
    node.plug()
    house.once("updated")
    house.check(second, policy="always")
    assert not house.pullet.record("app")["rejected"]


def test_a_failed_container_whose_device_is_gone_blames_no_digest(house):
    node = Node(house)
    start_of(house, Devices=node.devices)
    house.engine.stop_daemon()
    node.unplug()
    house.engine.start()
    house.engine.wait("app", lambda now: now["State"]["Error"])
    second = house.publish()
    house.once("deferred", reason=f"{node.path} is not there")
    assert not house.pullet.record("app")["rejected"]
    node.plug()
    house.once("updated")
    house.check(second, policy="always")


def test_a_first_container_whose_device_is_not_there_yet(house):  # operator-report 12
    node = Node(house)
    node.unplug()
    first = house.publish()
    house.configure(create={"HostConfig": {**ALWAYS, "Devices": node.devices}})
    house.once("deferred", reason=f"{node.path} is not there, so the container could not be started")
    assert house.engine.inspect("app") is None
    node.plug()
    house.once("updated")
    house.check(first, policy="always")


def test_a_start_that_the_host_refuses_each_time_stops_the_container_three_times(house):
    """A file is mounted where the new image has a directory: the engine's words are about a mount."""
    conf = house.lab.path(f"conf-{house.number}")
    conf.write_text("")
    start_of(house, Binds=[f"{conf}:/conf"])
    bad = house.publish(images=Image({"actor": program("actor"), "conf/x": b""}, {"Cmd": ["/actor", "wait"]}))
    for _ in range(3):
        house.once("failed", reason="the host could not start it: ")
    before = house.engine.inspect("app")
    downloaded = layers_read(house, bad)
    for _ in range(2):
        house.once("deferred", reason="that was tried 3 times")
        house.untouched(before)
    assert layers_read(house, bad) == downloaded
    house.pullet.order("retry")
    house.once("failed", reason="the host could not start it: ")
    second = house.publish()
    house.once("updated")
    house.check(second, policy="always")
    assert not house.pullet.record("app")["rejected"]


def test_a_sidecar_whose_device_is_unplugged(house):
    node = Node(house)
    before = start_of(house)
    house.engine.run("side", house.image, HostConfig={
        **ALWAYS, "NetworkMode": "container:app", "Devices": node.devices})
    second = house.publish()
    node.unplug()
    deferred_then_updated(house, before, second, f"container side: {node.path} is not there, {AGAIN}", node.plug)
    assert house.engine.inspect("side")["State"]["Running"]
