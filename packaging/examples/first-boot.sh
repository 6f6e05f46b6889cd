#!/bin/sh
# SPDX-License-Identifier: MIT
# The first boot of a device of a fleet: installs Docker, Pullet and the fleet's package, and tries again every 30 s, also
# after a power cut, until all of it is installed. Edit the three lines below. Then copy this file and the repository's
# pullet.gpg to the boot partition of the card, and have it started once:
#   Raspberry Pi OS trixie, in user-data:    runcmd: [[sh, /boot/firmware/first-boot.sh]]
#   Raspberry Pi OS bookworm, in firstrun.sh before its last "rm -f": sh /boot/firmware/first-boot.sh
set -eu
url=https://apt.fleet.example
packages="docker.io pullet acme-fleet"
# The ring of this device: canary if its host name is canary-kitchen. A name without a dash is in no ring.
ring=$(hostname | sed -n 's/-.*//p')

unit=pullet-first-boot
if [ "${1:-}" != --install ]; then
	install -D -m 755 "$0" /usr/local/sbin/$unit
	install -D -m 644 "$(dirname "$0")/pullet.gpg" /usr/share/keyrings/pullet.gpg
	cat >/etc/systemd/system/$unit.service <<TEXT
[Unit]
Description=First boot of a device with Pullet
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/$unit --install
Restart=on-failure
RestartSec=30

[Install]
WantedBy=multi-user.target
TEXT
	systemctl daemon-reload
	systemctl enable $unit.service
	# It waits for multi-user.target where the system is still starting: firstrun.sh has no network, and reboots.
	if systemctl -q is-active basic.target; then
		systemctl start --no-block $unit.service
	fi
	exit 0
fi

mkdir -p /etc/pullet/conf.d
# After the fleet's own files, so that it has the last word.
cat >/etc/pullet/conf.d/zz-device.conf <<TEXT
[agent]
device-id = $(hostname)
${ring:+ring = $ring}
TEXT
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "deb [signed-by=/usr/share/keyrings/pullet.gpg] $url $suite main" >/etc/apt/sources.list.d/pullet.list
export DEBIAN_FRONTEND=noninteractive
# A power cut may have left packages unpacked, and cloud-init may hold the lock.
dpkg --configure -a --force-confold
apt-get update --error-on=any
# shellcheck disable=SC2086
apt-get -o DPkg::Lock::Timeout=600 -o DPkg::Options::=--force-confold -y install $packages
systemctl disable $unit.service
