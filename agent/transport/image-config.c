/* SPDX-License-Identifier: MIT */
#include "image-config.h"

#include <errno.h>
#include <stdio.h>

#include "crypto.h"

struct digest image_config_chain(const json_t *diff_ids)
{
	struct digest chain = {0}, diff;
	const json_t *v;
	char pair[2 * sizeof(diff.text)];
	size_t i;

	json_array_foreach (diff_ids, i, v) {
		if (digest_parse(json_string_value(v), &diff) < 0)
			return (struct digest){0};
		(void)snprintf(pair, sizeof(pair), "%s %s", chain.text, diff.text);
		chain = i == 0 ? diff : hash_bytes(pair, strlen(pair));
	}
	return chain;
}

/* The config without what needs much memory and is not read here: a list of 16,000 ports takes 8 MB as a tree. */
static int parse_skeleton(const char *data, size_t n, json_t **ret, struct error *ret_error)
{
	static const char *const unread[] = {"config", "container_config", "history"};
	_cleanup_free_ char *text = json_without(data, n, "ExposedPorts", &n);

	if (n > OCI_CONFIG_MAX)
		return error_set(ret_error, -EKEYREJECTED,
				 "the image's config has %zu bytes, more than the %zu that are "
				 "taken",
				 n, OCI_CONFIG_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(unread); i++) {
		char *less = json_without(text, n, unread[i], &n);

		free(text);
		text = less;
	}
	if (json_parse(text, n, "image config", ret, ret_error) < 0)
		return ret_error->code = -EKEYREJECTED;
	return 0;
}

static int check_keys(const json_t *j, struct error *ret_error)
{
	static const char *const keys[] = {"rootfs", "config", "history", NULL};
	static const char *const rootfs_keys[] = {"type", "diff_ids", NULL};
	const char *key = json_find_misspelled(j, keys);

	if (!key)
		key = json_find_misspelled(json_object_get(j, "rootfs"), rootfs_keys);
	if (!key)
		return 0;
	return error_set(
		ret_error, -EKEYREJECTED,
		"the key \"%.64s\" of the image's config is misspelled: engines ignore the "
		"case of keys",
		key);
}

int image_config_parse(const char *data, size_t n, const struct digest *expected, size_t n_diffs,
		       const struct digest *layers, size_t n_layers, struct image_config *ret,
		       struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL, *version = NULL;
	struct image_config c = {0};
	const json_t *ids;
	int r = oci_check_hash(data, n, expected, ret_error);

	if (r == 0)
		r = parse_skeleton(data, n, &j, ret_error);
	if (r == 0)
		r = check_keys(j, ret_error);
	if (r == 0)
		r = oci_read_platform(j, &c.platform, ret_error);
	if (r < 0)
		return r;
	/* The labels are not parsed. Whatever stands there is only shown. */
	version = json_find_value(data, n, VERSION_LABEL, true);
	release_set_version(c.version, json_string_value(version));
	ids = json_get_path(j, "rootfs", "diff_ids", NULL);
	c.chain = image_config_chain(ids);
	if (json_array_size(ids) != n_diffs || (n_diffs > 0 && !digest_is_set(&c.chain)))
		return error_set(ret_error, -EKEYREJECTED,
				 "the image's config is not of the manifest's %zu layers", n_diffs);
	while (c.shared < n_layers &&
	       streq_null(json_string_value(json_array_get(ids, c.shared)), layers[c.shared].text))
		c.shared++;
	*ret = c;
	return 0;
}

int image_config_diff_ids(const char *data, size_t n, struct digest *ret, size_t n_diffs,
			  struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *ids;
	int r = parse_skeleton(data, n, &j, ret_error);

	ids = json_get_path(j, "rootfs", "diff_ids", NULL);
	for (size_t i = 0; r == 0 && i < n_diffs; i++) {
		const char *text = json_string_value(json_array_get(ids, i));

		if (!text || digest_parse(text, &ret[i]) < 0)
			r = error_set(ret_error, -EKEYREJECTED,
				      "the image's config has no DiffID of layer %zu", i + 1);
	}
	return r;
}
