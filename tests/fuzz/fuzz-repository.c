/* SPDX-License-Identifier: MIT */
/* Answers of an untrusted registry to the questions of repository.h and publish.c. An input is a line of letters, each a
 * question, and the answers. A digest that is asked for is the next answer's, so that its document is parsed, unless 'x'
 * is in the line. */
#include <errno.h>

#include "answers.h"
#include "repository.h"

#define QUESTIONS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_honest;

static struct digest asked_digest(void)
{
	struct digest d = answers_next_digest();

	if (!is_honest)
		memset(d.text + DIGEST_TEXT_LEN - 4, '0', 4);
	return d;
}

static void resolve(struct registry *r, const struct ref *ref)
{
	struct ref other = *ref;
	const struct ref *refs[] = {ref, &other, ref};
	struct fetch_resolved resolved[ARRAY_SIZE(refs)] = {0};

	other.tag = (char *)"next";
	repository_resolve(r, refs, ARRAY_SIZE(refs), resolved);
	for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
		struct digest d;

		if (resolved[i].error.code == 0 && digest_parse(resolved[i].digest.text, &d) < 0)
			abort();
		if (resolved[i].error.code < 0)
			answers_check_error(&resolved[i].error, resolved[i].error.code);
	}
	if (!streq(resolved[0].digest.text, resolved[2].digest.text))
		abort();
}

static int document(struct registry *r, const struct ref *ref, struct error *ret_error)
{
	struct digest d = asked_digest();
	struct oci_document document;
	int q = repository_document(r, ref, &d, &document, ret_error);

	if (q < 0)
		return q;
	if (document.n_layers > OCI_LAYERS_MAX || document.n_entries > OCI_INDEX_ENTRIES_MAX)
		abort();
	oci_document_free(&document);
	return q;
}

static int config(struct registry *r, const struct ref *ref, struct error *ret_error)
{
	const struct oci_document manifest = {.config = asked_digest(), .n_layers = 1};
	struct image_config c;
	int q = repository_config(r, ref, &manifest, NULL, 0, &c, ret_error);

	if (q == 0 && !digest_is_set(&c.chain))
		abort();
	return q;
}

static int policy(struct registry *r, const struct ref *ref, struct error *ret_error)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	int q = repository_policy(r, ref, "v1.rollout", &text, &n, ret_error);

	if (q == 0 && (!text || n > ROLLOUT_BYTES_MAX))
		abort();
	return q;
}

static int publish_policy(struct registry *r, const struct ref *ref, bool reads,
			  struct error *ret_error)
{
	_cleanup_json_ json_t *answer = NULL, *body = NULL;
	int q;

	if (!reads)
		body = json_pack("{s:i, s:i, s:s, s:i}", "version", 1, "sequence", 1, "target",
				 "sha256:"
				 "7777777777777777777777777777777777777777777777777777777777777777",
				 "percent", 10);
	q = publish(r, ref, body, &answer, ret_error);
	if (q == 0 && !answer)
		abort();
	return q;
}

static void ask(struct registry *r, const struct ref *ref, char letter)
{
	struct error e = {0};
	int q = 0;

	registry_begin(r);
	switch (letter) {
	case 'r':
		resolve(r, ref);
		break;
	case 'd':
		q = document(r, ref, &e);
		break;
	case 'c':
		q = config(r, ref, &e);
		break;
	case 'p':
		q = policy(r, ref, &e);
		break;
	case 'R':
	case 'W':
		q = publish_policy(r, ref, letter == 'R', &e);
		break;
	default:
		break;
	}
	registry_end(r);
	if (q < 0)
		answers_check_error(&e, q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *line = answers_take_line(&data, &n);
	struct registry_config config = {0};
	struct registry_options o = {.host = (char *)"r.io", .config = &config, .cache_dir = -1};
	struct registry *r = NULL;
	const char *why;
	struct error e;
	struct ref ref;

	if (ref_parse("r.io/team/app:v1", &ref, &why) < 0 || registry_open(&o, &r, &e) < 0)
		abort();
	is_honest = !strchr(line, 'x');
	answers_begin(data, n, strchr(line, 'a'), NULL);
	for (size_t i = 0; line[i] && i < QUESTIONS_MAX; i++)
		ask(r, &ref, line[i]);
	registry_close(r);
	ref_free(&ref);
	return 0;
}
