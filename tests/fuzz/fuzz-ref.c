/* SPDX-License-Identifier: MIT */
#include "ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is taken parses to the same thing again from its own parts. */
static void check_round_trip(const struct ref *r)
{
	_cleanup_free_ char *repository = ref_repository(r), *text = NULL, *tagged = NULL;
	const char *why = NULL;
	struct ref again;

	text = xasprintf("%s%s%s%s%s", repository, r->tag ? ":" : "", r->tag ? r->tag : "",
			 digest_is_set(&r->digest) ? "@" : "", r->digest.text);
	if (ref_parse(text, &again, &why) < 0 || !streq(again.host, r->host) ||
	    !streq(again.path, r->path) || !streq_null(again.tag, r->tag))
		abort();
	ref_free(&again);
	tagged = ref_tagged(r);
	if (tagged && (ref_parse(tagged, &again, &why) < 0 || !streq(again.host, r->host) ||
		       !streq(again.path, r->path)))
		abort();
	if (tagged)
		ref_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, n);
	const char *why = NULL;
	struct ref r;

	(void)ref_host_is_loopback(text);
	if (ref_parse(text, &r, &why) < 0) {
		if (!why)
			abort();
		return 0;
	}
	/* None of it may leave its place in a URL. */
	if (strpbrk(r.host, "/?#@\\ ") || strpbrk(r.path, "?#@:\\% ") || strstr(r.path, "..") ||
	    (r.tag && strpbrk(r.tag, "/?#@:\\% ")))
		abort();
	check_round_trip(&r);
	ref_free(&r);
	return 0;
}
