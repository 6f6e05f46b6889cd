/* SPDX-License-Identifier: MIT */
/* What the configuration says of signatures is checked when it is read: a key that cannot be used would stop all updates,
 * and nobody would see why before the next one. */
#include <errno.h>

#include "base64.h"
#include "config-internal.h"
#include "device.h"
#include "public-key.h"
#include "record.h"

/* A key that is replaced in its file makes another configuration, as a key in another file does. */
static void add_to_fingerprint(struct config *c, const void *data, size_t n)
{
	_cleanup_free_ char *text = base64_encode(data, n);

	c->fingerprint = c->fingerprint * 31 + device_number(text);
}

int config_check_key(struct parser *p, const char *path)
{
	struct public_key key;
	struct error e;

	if (public_key_read(path, &key, &e) < 0)
		return config_complain(p, "key: %s", e.text);
	add_to_fingerprint(p->config, key.der, key.n);
	return 0;
}

int config_check_revoked(struct parser *p, const char *path)
{
	_cleanup_free_ struct revoked_list *list = xmalloc(sizeof(*list));
	struct error e;

	if (revoked_read(path, list, &e) < 0)
		return config_complain(p, "revoked: %s", e.text);
	for (size_t i = 0; i < list->n; i++) {
		const struct revoked_key *one = &list->items[i];

		if (one->key)
			add_to_fingerprint(p->config, one->key->der, one->key->n);
		else
			add_to_fingerprint(p->config, one->id.text, strlen(one->id.text));
	}
	revoked_free(list);
	return 0;
}

int config_parse_threshold(struct parser *p, const char *value, void *field)
{
	if (strlen(value) != 1 || *value < '1' || *value > '0' + SIGNATURE_KEYS_MAX)
		return config_complain(p, "%s: '%s' is not a number of keys from 1 to %d",
				       p->key->name, value, SIGNATURE_KEYS_MAX);
	*(unsigned int *)field = (unsigned int)(*value - '0');
	return 0;
}

/* The number of different keys; the same one may be in several files. */
static unsigned int count_keys(const struct container_config *k)
{
	struct public_key keys[SIGNATURE_KEYS_MAX];
	struct error ignored;
	unsigned int n = 0;

	for (char **path = k->keys; path && *path && n < ARRAY_SIZE(keys); path++) {
		unsigned int i = 0;

		if (public_key_read(*path, &keys[n], &ignored) < 0)
			continue;
		while (i < n && !public_key_eq(&keys[i], &keys[n]))
			i++;
		n += i == n;
	}
	return n;
}

void config_check_thresholds(struct parser *p)
{
	const struct config *c = p->config;
	struct error e;

	for (const struct container_config *k = c->containers; k < c->containers + c->n_containers;
	     k++) {
		unsigned int n = k->key_threshold > 1 ? count_keys(k) : 1;

		if (k->key_threshold <= n)
			continue;
		(void)error_set(&e, -EINVAL,
				"%s: [container %s] has key-threshold = %u and %u different key%s: "
				"add a line key = for each key that must have signed",
				k->origin, k->name, k->key_threshold, n, n == 1 ? "" : "s");
		config_add_fault(p, &e);
	}
}
