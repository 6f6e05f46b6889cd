/* SPDX-License-Identifier: MIT */
/* What a signer wrote, in the two formats; the first byte of an input chooses: 's' or 'b'. */
#include <errno.h>

#include "statement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What a statement that was taken promises to verify.c. */
static void check(const struct statement *s, const char *text, size_t n)
{
	struct digest d;
	const char *hex = s->subject.text + strlen("sha256:");

	/* Nothing is made up: whoever signed wrote the digest, maybe with an escape in it. */
	if (digest_parse(s->subject.text, &d) < 0 ||
	    (!memmem(text, n, hex, strlen(hex)) && !memchr(text, '\\', n)))
		abort();
	if (s->seq > 999999999999999999 || s->expires_s < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct statement s = {0};
	struct error e = {0};
	int r;

	if (n == 0 || n > SIGNATURE_PAYLOAD_MAX)
		return 0;
	r = statement_parse(data[0] == 's' ? SIGNATURE_SIMPLE : SIGNATURE_BUNDLE,
			    (const char *)data + 1, n - 1, &s, &e);
	if (r == 0)
		check(&s, (const char *)data + 1, n - 1);
	else if (r != e.code || !e.text[0] || s.image || s.reference || s.tag)
		abort();
	if (r == 0 && (data[0] == 's') != (s.reference != NULL))
		abort();
	statement_free(&s);
	return 0;
}
