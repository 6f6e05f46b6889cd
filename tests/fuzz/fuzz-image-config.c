/* SPDX-License-Identifier: MIT */
#include "crypto.h"
#include "image-config.h"
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define DIFFS_MAX 3

static void check(const struct image_config *c, size_t n_diffs)
{
	char text[96];

	if (c->shared > n_diffs)
		abort();
	if (n_diffs > 0 && !digest_is_set(&c->chain))
		abort();
	(void)oci_platform_text(&c->platform, text, sizeof(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct digest d = hash_bytes(data, n), layers[2] = {0};
	struct image_config c;
	static bool ready;
	struct error e;

	if (!ready)
		json_budget((size_t)1536 * 1024);
	ready = true;
	memset(layers[0].text, '1', DIGEST_TEXT_LEN);
	memcpy(layers[0].text, "sha256:", strlen("sha256:"));
	layers[1] = layers[0];
	for (size_t i = 0; i <= DIFFS_MAX; i++) {
		int r = image_config_parse((const char *)data, n, &d, i, layers, ARRAY_SIZE(layers),
					   &c, &e);

		if (r == 0)
			check(&c, i);
		else if (e.code != r || !e.text[0])
			abort();
	}
	if (image_config_parse((const char *)data, n, &layers[0], 0, NULL, 0, &c, &e) == 0)
		abort(); /* of another hash */
	return 0;
}
