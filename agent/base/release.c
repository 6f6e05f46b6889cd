/* SPDX-License-Identifier: MIT */
#include "record.h"

struct digest release_label(const struct release *r)
{
	struct digest label = *release_pulled(r);
	_cleanup_free_ char *prefixed = xasprintf("sha256:%s", r->image);

	/* podman leaves the prefix out. */
	if (!digest_is_set(&label) && digest_parse(r->image, &label) < 0)
		(void)!digest_parse(prefixed, &label);
	return label;
}

/* A version is shown between digests: letters, digits and signs of ASCII, without a space. */
void release_set_version(char ret[VERSION_TEXT_MAX], const char *text)
{
	size_t n = 0;

	ret[0] = '\0';
	if (!text)
		return;
	while (text[n] > ' ' && text[n] <= '~')
		n++;
	if (!text[n])
		copy_text(ret, VERSION_TEXT_MAX, text);
}

const char *record_version(const struct record *r, const struct digest *d)
{
	const struct release *const all[] = {&r->current, &r->target, &r->previous};

	for (size_t i = 0; digest_is_set(d) && i < ARRAY_SIZE(all); i++) {
		if (digest_eq(&all[i]->digest, d) && all[i]->version[0])
			return all[i]->version;
	}
	/* One that was rolled back, for example. */
	for (size_t i = r->n_history; digest_is_set(d) && i-- > 0;) {
		const struct history_entry *e = &r->history[i];

		if (e->to_version[0] && digest_eq(&e->to, d))
			return e->to_version;
		if (e->from_version[0] && digest_eq(&e->from, d))
			return e->from_version;
	}
	return "";
}
