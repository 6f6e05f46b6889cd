/* SPDX-License-Identifier: MIT */
/* Answers of an untrusted registry to the questions of repository.h and publish.c. An input is a line of letters, each a
 * question, and the answers. A digest that is asked for is the next answer's, so that its document is parsed, unless 'x'
 * is in the line. With 'b' in it, what was read is not read again. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "answers.h"
#include "blob.h"
#include "crypto.h"
#include "repository.h"

#define QUESTIONS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_honest;

/* What the questions of an input have read; those that follow find it there. */
static void check_documents(const json_t *documents)
{
	const char *key;
	json_t *text;

	json_object_foreach ((json_t *)documents, key, text) {
		struct digest d = hash_bytes(json_string_value(text), json_string_length(text));

		if (!streq(key, d.text))
			abort();
	}
	if (documents && json_dumpb(documents, NULL, 0, JSON_COMPACT) > MESSAGE_DOCUMENTS_MAX)
		abort();
}

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
	_cleanup_free_ char *text = NULL, *manifest = NULL;
	size_t n = 0;
	int q = repository_policy(r, ref, "v1.rollout", &text, &n, &manifest, ret_error);

	if (manifest && strlen(manifest) > ROLLOUT_MANIFEST_MAX)
		abort();

	if (q == 0 && (!text || n > ROLLOUT_BYTES_MAX))
		abort();
	return q;
}

/* Of an image whose digest is that of the text "image". */
static int signatures(struct registry *r, const struct ref *ref, enum signature_place place,
		      struct error *ret_error)
{
	const struct digest d = hash_bytes("image", strlen("image"));
	struct signatures s;
	int q = repository_signatures(r, ref, &d, place, &s, ret_error);

	if (q == 0)
		json_decref(message_signatures_to_json(&s));
	else if (s.n > 0)
		abort();
	signatures_free(&s);
	return q;
}

static int delta(struct registry *r, const struct ref *ref, struct error *ret_error)
{
	const struct digest from = hash_bytes("from", 4), to = hash_bytes("to", 2);
	struct fetch_delta d;
	int q = repository_delta(r, ref, &from, &to, &d, ret_error);

	if (q < 0)
		return q;
	if (message_delta_fault(&d) || d.n_sizes > OCI_LAYERS_MAX || !digest_is_set(&d.digest))
		abort();
	json_decref(message_delta_to_json(&d));
	fetch_delta_free(&d);
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

/* 10 bytes, whose first three are there. */
static int bring(struct registry *r, const struct ref *ref, struct error *ret_error)
{
	static const char text[] = "0123456789";
	struct fetch_blob b = {.digest = hash_bytes(text, 10),
			       .size = 10,
			       .offset = 3,
			       .fd = memfd_create("blob", MFD_CLOEXEC),
			       .allowance = UINT64_MAX,
			       .ms = 60000};
	struct protocol_reader nobody = {.fd = open("/dev/null", O_WRONLY | O_CLOEXEC)};
	struct session s = {.registry = r, .caller = &nobody, .traffic.dir = -1};
	char got[11] = "";
	struct fetched f;
	struct stat st;
	int q;

	if (write_all(b.fd, text, 3) < 0)
		abort();
	q = blob_bring(&s, ref, &b, &f, ret_error);
	if (fstat(b.fd, &st) < 0 || (uint64_t)st.st_size != f.bytes || f.bytes > b.size ||
	    pread(b.fd, got, sizeof(got), 0) < 0 || (q == 0 && !streq(got, text)))
		abort();
	close(nobody.fd);
	close(b.fd);
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
	case 'D':
		q = delta(r, ref, &e);
		break;
	case 'b':
		q = bring(r, ref, &e);
		break;
	case 's':
		q = signatures(r, ref, SIGNATURES_TAG, &e);
		break;
	case 'l':
		q = signatures(r, ref, SIGNATURES_REFERRERS, &e);
		break;
	case 'f':
		q = signatures(r, ref, SIGNATURES_FALLBACK, &e);
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
	r->documents = strchr(line, 'b') ? json_object() : NULL;
	answers_begin(data, n, strchr(line, 'a'), NULL);
	for (size_t i = 0; line[i] && i < QUESTIONS_MAX; i++)
		ask(r, &ref, line[i]);
	check_documents(r->documents);
	json_decref(r->documents);
	registry_close(r);
	ref_free(&ref);
	return 0;
}
