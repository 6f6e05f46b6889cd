/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

#define API_MINOR_MIN 41
#define API_MINOR_MAX 51
#define PODMAN_MIN    5
#define ZSTD_MIN      23 /* of Docker */

static int version_minor(const char *version)
{
	int minor;

	return version && sscanf(version, "1.%3d", &minor) == 1 ? minor : -1;
}

int version_read(const json_t *v, struct version *ret, struct error *ret_error)
{
	int max = version_minor(json_get_string(v, "ApiVersion"));
	const char *arch = json_get_string(v, "Arch"), *os = json_get_string(v, "Os");
	int min = version_minor(json_get_string(v, "MinAPIVersion"));
	const json_t *podman = NULL, *component;
	struct oci_platform host;
	struct utsname u;
	const char *release;
	size_t i;

	json_array_foreach (json_object_get(v, "Components"), i, component)
		if (streq_null(json_get_string(component, "Name"), "Podman Engine"))
			podman = component;
	release = json_get_string(podman, "Version");
	if (max < 0 || !arch || !os)
		return error_set(ret_error, -EPROTO,
				 "engine: /version lacks ApiVersion, Os or Arch: set engine= to "
				 "Docker's socket");
	if (max < API_MINOR_MIN)
		return error_set(
			ret_error, -EPROTO,
			"engine: speaks API 1.%d at most: upgrade it to API 1.%d (Docker 20.10)",
			max, API_MINOR_MIN);
	if (min > API_MINOR_MAX)
		return error_set(
			ret_error, -EPROTO,
			"engine: requires API 1.%d, above 1.%d of this Pullet: upgrade Pullet", min,
			API_MINOR_MAX);
	/* Older versions neither tell whether a user stopped a container nor change restart policies. */
	if (podman && (!release || atoi(release) < PODMAN_MIN))
		return error_set(ret_error, -EPROTO,
				 "engine: podman %.32s is too old: upgrade it to %d or newer",
				 release ? release : "without a version", PODMAN_MIN);
	*ret = (struct version){.api_minor = max < API_MINOR_MAX ? max : API_MINOR_MAX,
				.podman = podman};
	release = release ? release : json_get_string(v, "Version");
	copy_text(ret->release, sizeof(ret->release), release);
	(void)text_printable(ret->release);
	ret->zstd = podman || !release || atoi(release) >= ZSTD_MIN;
	copy_text(ret->platform.os, sizeof(ret->platform.os), os);
	copy_text(ret->platform.architecture, sizeof(ret->platform.architecture), arch);
	/* The variant of an engine for arm, by this kernel: armv7l, armv8l, or an aarch64 one that runs 32 bits. */
	if (streq(arch, "arm") && uname(&u) == 0) {
		platform_of_machine(u.machine, 32, &host);
		copy_text(ret->platform.variant, sizeof(ret->platform.variant),
			  host.variant[0] ? host.variant : "v7");
	}
	return 0;
}
