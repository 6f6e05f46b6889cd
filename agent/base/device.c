/* SPDX-License-Identifier: MIT */
#include "device.h"

#include <fcntl.h>

#define MACHINE_ID_FILE "/etc/machine-id"
#define MACHINE_ID_LEN	32

static bool is_machine_id(const char *s)
{
	return strspn(s, "0123456789abcdef") == MACHINE_ID_LEN &&
	       strspn(s, "0") != MACHINE_ID_LEN &&
	       (!s[MACHINE_ID_LEN] || s[MACHINE_ID_LEN] == '\n');
}

void device_id(const char *configured, char ret[DEVICE_ID_SIZE])
{
	_cleanup_free_ char *text = NULL;

	ret[0] = '\0';
	if (configured)
		copy_text(ret, DEVICE_ID_SIZE, configured);
	else if (read_file_at(AT_FDCWD, MACHINE_ID_FILE, 4096, &text, NULL) == 0 &&
		 is_machine_id(text))
		copy_text(ret, MACHINE_ID_LEN + 1, text);
}

/* FNV-1a: good enough, as schedule mixes the number again, and without libcrypto. */
uint64_t device_number(const char *text)
{
	uint64_t n = 0xcbf29ce484222325;

	for (; *text; text++)
		n = (n ^ (unsigned char)*text) * 0x100000001b3;
	return n;
}
