/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "json.h"
#include "history.h"
#include "record.h"
#include "test.h"

#define HEX_60	  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab"
#define DIGEST(x) ((struct digest){.text = "sha256:" HEX_60 x})

/* While it is set, nothing can be opened. */
static int open_error;

int openat(int at, const char *path, int flags, ...)
{
	unsigned int mode;
	va_list ap;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, unsigned int) : 0;
	va_end(ap);
	errno = open_error;
	return open_error ? -1 : (int)syscall(SYS_openat, at, path, flags, mode);
}

static int empty_dir(void **state)
{
	(void)unlinkat(scratch, "hello.json", 0);
	(void)unlinkat(scratch, "hello.json", AT_REMOVEDIR);
	(void)unlinkat(scratch, "hello.json.broken", 0);
	(void)unlinkat(scratch, "hello.json.broken", AT_REMOVEDIR);
	return 0;
}

static bool is_there(const char *name)
{
	return faccessat(scratch, name, F_OK, 0) == 0;
}

static char *read_back(const char *name)
{
	char *text = NULL;

	assert_int_equal(read_file_at(scratch, name, (size_t)1 << 20, &text, NULL), 0);
	return text;
}

static void fill_history(struct record *r, size_t n)
{
	for (r->n_history = 0; r->n_history < n; r->n_history++) {
		struct history_entry *h = &r->history[r->n_history];

		*h = (struct history_entry){.at_s = 1764000000,
					    .duration_ms = -1,
					    .downtime_ms = 256,
					    .to = DIGEST("0005")};
		copy_text(h->result, sizeof(h->result), "rolled-back");
		memset(h->from_version, 'v', sizeof(h->from_version) - 1);
		memset(h->reason, '"', n > 1 ? sizeof(h->reason) - 1 : 3);
	}
}

static void sign(struct signature *s, size_t n)
{
	for (s->n_keys = 0; s->n_keys < n; s->n_keys++) {
		struct signed_key *key = &s->keys[s->n_keys];

		memset(key->name, 'k', n > 1 ? sizeof(key->name) - 1 : 3);
		key->id = DIGEST("ab00");
		key->id.text[70] = "0123456789abcdef"[s->n_keys];
		key->seq = 999999999999999999 - s->n_keys;
	}
	s->expires_s = 1796126400;
}

/* Every field in use, at its full length where it has one. Equal records are equal bytes. */
static void fill(struct record *r, enum phase phase)
{
	memset(r, 0, sizeof(*r));
	record_init(r);
	r->current.digest = DIGEST("0001");
	r->current.manifest = DIGEST("0002");
	(void)strcpy(r->current.image, DIGEST("0003").text);
	r->previous.digest = DIGEST("0004");
	r->previous.brought = true;
	r->previous.pulled = DIGEST("0007");
	r->downtime_ms = 123456789012;
	r->damage = (struct damage){.digest = DIGEST("0008"), .tries = 1000};
	memset(r->damage.boot_id, 'b', sizeof(r->damage.boot_id) - 1);
	r->held = true;
	r->rollout_sequence = (uint64_t)1 << 53;
	r->rollout_policy = DIGEST("0009");
	copy_text(r->rollout_state, sizeof(r->rollout_state), ROLLOUT_CLEARED);
	r->seen = DIGEST("0008");
	r->seen_s = (int64_t)1 << 40;
	memset(r->last_error, 'e', sizeof(r->last_error) - 1);
	for (size_t i = 0; i < RECORD_REJECTED_MAX; i++) {
		struct release x = {.digest = DIGEST("ff00"), .manifest = DIGEST("fe00")};

		x.digest.text[70] = x.manifest.text[70] = "0123456789abcdef"[i];
		if (i == 3)
			x.manifest = (struct digest){0};
		record_reject(r, &x, "", i ? "it exited with \"3\"" : "");
	}
	copy_text(r->current.version, sizeof(r->current.version), "1.4.2");
	fill_history(r, 1); /* each byte of the file is tried */
	sign(&r->current.signature, 2);
	r->signed_candidate =
		(struct signed_candidate){.digest = DIGEST("0005"), .pulled = DIGEST("0006")};
	sign(&r->signed_candidate.signature, 1);
	r->sequences[0] = (struct key_sequence){DIGEST("ab00"), 42, DIGEST("0001")};
	r->sequences[1] = (struct key_sequence){DIGEST("ab01"), 999999999999999999, DIGEST("0002")};
	r->n_sequences = 2;
	r->statement_s = 1764000000;
	r->place = SIGNATURES_FALLBACK;
	r->floor = DIGEST("0001");
	r->rollout_manifest = DIGEST("000a");
	r->rollout_refused = DIGEST("000b");
	sign(&r->rollout_signature, 1);
	r->phase = phase;
	if (phase == PHASE_IDLE)
		return;
	r->began_ms = 1764000000123;
	r->target.digest = DIGEST("0005");
	r->target.manifest = DIGEST("0006");
	r->target.brought = true;
	memset(r->target.image, 'i', sizeof(r->target.image) - 1);
	r->rollback = r->synced = r->serving = r->reject_target = true;
	memset(r->boot_id, 'b', sizeof(r->boot_id) - 1);
	memset(r->old_id, 'o', sizeof(r->old_id) - 1);
	memset(r->new_id, 'n', sizeof(r->new_id) - 1);
	memset(r->policy, 'p', sizeof(r->policy) - 1);
	memset(r->reason, 'r', sizeof(r->reason) - 1);
	r->starts = 3;
	r->n_followers = FOLLOWERS_MAX;
	for (size_t i = 0; i < r->n_followers; i++) {
		struct follower *f = &r->followers[i];

		memset(f->name, 'a' + (int)i, sizeof(f->name) - 1);
		memset(f->old_id, 'o', sizeof(f->old_id) - 1);
		memset(f->new_id, 'n', i % 2 ? sizeof(f->new_id) - 1 : 0);
		memset(f->policy, 'p', sizeof(f->policy) - 1);
		f->serving = i % 2;
	}
}

static void save(const struct record *r)
{
	struct error e = {0};

	if (record_save(scratch, "hello", r, &e) < 0)
		fail_msg("%s", e.text);
}

static void expect_round_trip(const struct record *r)
{
	struct error e = {0};
	struct record back;

	save(r);
	memset(&back, 0xaa, sizeof(back));
	if (record_load(scratch, "hello", &back, &e) < 0)
		fail_msg("%s", e.text);
	assert_memory_equal(&back, r, sizeof(back));
}

static void test_round_trips(void **state)
{
	static const char *const names[] = {"idle", "prepare", "trial", "commit", "revert"};
	struct record r;

	for (enum phase phase = PHASE_IDLE; phase <= PHASE_REVERT; phase++) {
		_cleanup_free_ char *text = NULL, *expected = NULL;

		fill(&r, phase);
		expect_round_trip(&r);
		text = read_back("hello.json");
		expected = xasprintf("{\n \"version\": 1,\n \"phase\": \"%s\",\n", names[phase]);
		assert_non_null(after_prefix(text, expected));
		assert_string_equal(phase_names[phase], names[phase]);
		assert_true(has_suffix(text, "}\n"));
		/* The same again with everything that may be empty empty. */
		memset(&r, 0, sizeof(r));
		record_init(&r);
		expect_round_trip(&r);
		r.phase = phase;
		if (phase != PHASE_IDLE && phase != PHASE_REVERT)
			r.target.digest = DIGEST("0005");
		expect_round_trip(&r);
	}
	assert_false(is_there("hello.json.broken"));
}

/* A new file each time, alone: the disk need not be waited for. */
static void put(const char *text, size_t len)
{
	_cleanup_close_ int fd = -1;

	(void)empty_dir(NULL);
	fd = openat(scratch, "hello.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, text, len), 0);
}

/* Puts text in the record's place: it must be set aside, whole, and ret stay as it was. */
static void expect_broken(const char *text, size_t len, const char *what)
{
	_cleanup_free_ char *aside = NULL;
	struct error e = {0};
	struct record r;
	int q;

	memset(&r, 0xaa, sizeof(r));
	put(text, len);
	q = record_load(scratch, "hello", &r, &e);
	if (q != -EBADMSG || e.code != q || is_there("hello.json"))
		fail_msg("%s: %d %s", what, q, e.text);
	assert_non_null(after_prefix(e.text, "hello.json.broken set aside: record: "));
	if (!strstr(e.text, what))
		fail_msg("'%s' does not say %s", e.text, what);
	/* What the engine knows better is not kept. */
	assert_true(r.phase == PHASE_IDLE && !r.current.digest.text[0] && !r.old_id[0]);
	aside = read_back("hello.json.broken");
	assert_memory_equal(aside, text, len);
	assert_int_equal(record_load(scratch, "hello", &r, &e), -ENOENT);
}

static void expect_broken_json(const json_t *j, const char *what)
{
	_cleanup_free_ char *text = json_text(j, 0);

	expect_broken(text, strlen(text), what);
}

static void expect_whole_json(const json_t *j)
{
	_cleanup_free_ char *text = json_text(j, 0);
	struct error e = {0};
	struct record r;

	put(text, strlen(text));
	if (record_load(scratch, "hello", &r, &e) < 0)
		fail_msg("%s", e.text);
}

/* Of a full record. Caller owns it. */
static json_t *load_json(enum phase phase)
{
	_cleanup_free_ char *text = NULL;
	struct record r;

	fill(&r, phase);
	save(&r);
	text = read_back("hello.json");
	return json_loads(text, 0, NULL);
}

/* The object that the key at the end of path stands in; of a list its first item. */
static json_t *find(json_t *j, const char *const path[], const char **ret_key)
{
	for (; path[1]; path++) {
		j = json_object_get(j, *path);
		if (json_is_array(j))
			j = json_array_get(j, 0);
	}
	assert_non_null(json_object_get(j, *path));
	*ret_key = *path;
	return j;
}

/* Each key taken away, and replaced by a value of each type but those that fit: [s]tring, [i]nteger,
 * [f]loat, [b]oolean, [o]bject, [a]rray, [n]ull. What earlier versions did not write may be
 * missing [-]. */
static const struct {
	const char *path[5];
	const char *fits;
} keys[] = {
	{{"version"}, ""},
	{{"phase"}, ""},
	{{"current"}, "n"},
	{{"current", "digest"}, "n"},
	{{"current", "manifest"}, "n"},
	{{"current", "image"}, "sn"},
	{{"current", "brought"}, "b"},
	{{"current", "signature"}, "-"},
	{{"current", "signature", "keys"}, "a"},
	{{"current", "signature", "keys", "name"}, "s"},
	{{"current", "signature", "keys", "id"}, ""},
	{{"current", "signature", "keys", "seq"}, ""},
	{{"current", "signature", "expires"}, ""},
	{{"sequences"}, "a-"},
	{{"sequences", "key"}, ""},
	{{"sequences", "seq"}, ""},
	{{"sequences", "digest"}, ""},
	{{"statement"}, "-"},
	{{"signature-place"}, "-"},
	{{"signed"}, "-"},
	{{"signed", "digest"}, ""},
	{{"signed", "pulled"}, ""},
	{{"signed", "signature"}, ""},
	{{"floor"}, "-"},
	{{"rollout-manifest"}, "-"},
	{{"rollout-signature"}, "-"},
	{{"rollout-refused"}, "-"},
	{{"previous"}, "n"},
	{{"previous", "digest"}, "n"},
	{{"rejected"}, "a"},
	{{"rejected", "digest"}, ""},
	{{"rejected", "manifest"}, "n"},
	{{"rejected", "reason"}, "sn"},
	{{"damage"}, "n-"},
	{{"damage", "digest"}, ""},
	{{"damage", "boot_id"}, "sn"},
	{{"damage", "tries"}, ""},
	{{"held"}, "b-"},
	{{"rollout_sequence"}, "-"},
	{{"rollout_policy"}, "-"},
	{{"rollout_state"}, "s-"},
	{{"seen"}, "-"},
	{{"seen", "digest"}, ""},
	{{"seen", "at"}, ""},
	{{"last_error"}, "sn"},
	{{"downtime_ms"}, "i"},
	/* Not in idle. */
	{{"update", "target"}, ""},
	{{"update", "target", "digest"}, "n"},
	{{"update", "target", "manifest"}, "n"},
	{{"update", "target", "image"}, "sn"},
	{{"update", "target", "brought"}, "b"},
	{{"update", "rollback"}, "b-"},
	{{"update", "synced"}, "b"},
	{{"update", "boot_id"}, "sn"},
	{{"update", "old_id"}, "sn"},
	{{"update", "new_id"}, "sn"},
	{{"update", "policy"}, "sn"},
	{{"update", "serving"}, "b"},
	{{"update", "starts"}, ""}, /* -1 is none */
	{{"update", "blame"}, "b"},
	{{"update", "reason"}, "sn"},
};

static void test_keys(void **state)
{
	_cleanup_json_ json_t *others = json_pack("{s:s, s:i, s:f, s:b, s:{}, s:[], s:n}", "s",
						  "text", "i", -1, "f", 1.5, "b", 1, "o", "a", "n");

	for (enum phase phase = PHASE_IDLE; phase <= PHASE_REVERT; phase++) {
		_cleanup_json_ json_t *whole = load_json(phase);

		for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
			_cleanup_json_ json_t *j = json_deep_copy(whole);
			const char *key, *type;
			json_t *object, *other;

			if (phase == PHASE_IDLE && streq(keys[i].path[0], "update"))
				continue;
			object = find(j, keys[i].path, &key);
			json_object_del(object, key);
			if (strchr(keys[i].fits, '-'))
				expect_whole_json(j);
			else
				expect_broken_json(j, key);
			json_object_foreach (others, type, other) {
				bool fits = strstr(keys[i].fits, type) ||
					    (*type == 'n' && phase == PHASE_REVERT &&
					     streq(key, "target")); /* lost with the record */

				json_object_set(object, key, other);
				if (fits)
					expect_whole_json(j);
				else
					expect_broken_json(j, "record: ");
			}
		}
	}
}

/* Values of the right type that no record of ours has. */
static void test_values(void **state)
{
	static const struct {
		const char *path[4];
		const char *value;
	} rows[] = {
		{{"version"}, "2"},
		{{"version"}, "0"},
		{{"phase"}, "\"Idle\""},
		{{"phase"}, "\"\""},
		{{"current", "digest"}, "\"\""},
		{{"current", "digest"}, "\"sha256:" HEX_60 "000\""},
		{{"current", "digest"}, "\"sha256:" HEX_60 "00000\""},
		{{"current", "digest"}, "\"sha256:" HEX_60 "000A\""},
		{{"current", "manifest"}, "\"sha512:" HEX_60 "0000\""},
		{{"update", "starts"}, "1001"},
		{{"update", "starts"}, "-1"},
		{{"update", "starts"}, "9223372036854775807"},
		{{"update", "policy"}, "\"" HEX_60 "\""},
		{{"update", "old_id"}, "\"" HEX_60 HEX_60 "\""},
		{{"update", "boot_id"}, "\"0123456789012345678901234567890123456789\""},
		{{"update", "target", "image"}, "\"" HEX_60 "01234567890123456789\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *j = load_json(PHASE_TRIAL);
		const char *key;
		json_t *object = find(j, rows[i].path, &key);

		json_object_set_new(object, key, json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
		expect_broken_json(j, key);
	}
}

static void test_rejected_too_many(void **state)
{
	_cleanup_json_ json_t *j = load_json(PHASE_IDLE);
	json_t *list = json_object_get(j, "rejected");

	assert_int_equal(json_array_size(list), RECORD_REJECTED_MAX);
	json_array_append(list, json_array_get(list, 0));
	expect_broken_json(j, "rejected");
}

static void test_texts(void **state)
{
	static char big[97 * 1024];
	static const char *const texts[] = {
		"",
		"\n",
		"{",
		"{}",
		"[]",
		"null",
		"1",
		"{\"version\":1}",
		"{\"version\":1}x",
		"{\"version\":1,\"version\":1}",
		"\377\376",
		"{\"version\":1,\"phase\":\"idle\"}",
	};
	_cleanup_free_ char *text = NULL;
	struct record r;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		expect_broken(texts[i], strlen(texts[i]), "record: ");
	fill(&r, PHASE_TRIAL);
	save(&r);
	text = read_back("hello.json");
	len = strlen(text);
	expect_broken(text, len - 3, "record: ");
	memset(big, ' ', sizeof(big));
	memcpy(big, text, len);
	expect_broken(big, sizeof(big), "File too large");
	memset(big, 0, sizeof(big)); /* what some file systems leave of a file after a power cut */
	expect_broken(big, len, "record: ");
}

/* Each byte to each neighbour by one bit, and the file cut at each byte: read or set aside, and
 * what was read can be written and read again. */
static void test_mutations(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct record r;
	struct error e;
	size_t len, read = 0;

	memset(&r, 0, sizeof(r));
	fill(&r, PHASE_TRIAL);
	r.n_rejected = 1;
	memset(r.reason + 10, 0, sizeof(r.reason) - 10);
	memset(r.last_error + 10, 0, sizeof(r.last_error) - 10);
	/* One of each kind is enough. */
	r.n_followers = r.n_sequences = r.current.signature.n_keys = 1;
	save(&r);
	text = read_back("hello.json");
	len = strlen(text);
	for (size_t i = 0; i < len * 9; i++) {
		char saved = text[i / 9];
		int q;

		text[i / 9] = (char)(saved ^ (i % 9 < 8 ? 1 << i % 9 : 0));
		put(text, i % 9 < 8 ? len : i / 9);
		text[i / 9] = saved;
		q = record_load(scratch, "hello", &r, &e);
		assert_true(q == 0 || q == -EBADMSG);
		assert_true(is_there("hello.json") == (q == 0));
		if (q < 0 || read++ % 1000)
			continue;
		expect_round_trip(&r);
	}
	assert_in_range(read, 1, len * 9 - 1);
}

/* Not broken but not to be had now: it stays in its place. */
static void test_not_now(void **state)
{
	static const int codes[] = {EACCES, EIO, EMFILE, ENFILE, ENOMEM, EINTR, ELOOP};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		struct record r, untouched;
		struct error e = {0};

		fill(&r, PHASE_TRIAL);
		untouched = r;
		put("{}", 2);
		open_error = codes[i];
		assert_int_equal(record_load(scratch, "hello", &r, &e), -codes[i]);
		open_error = 0;
		assert_true(e.code == -codes[i] && after_prefix(e.text, "hello.json: "));
		assert_memory_equal(&r, &untouched, sizeof(r));
		assert_true(is_there("hello.json") && !is_there("hello.json.broken"));
	}
}

static void expect_kept(const char *text, size_t len, uint64_t sequence, size_t n_rejected,
			const char *rollout_state)
{
	struct record r;
	struct error e = {0};

	put(text, len);
	assert_int_equal(record_load(scratch, "hello", &r, &e), -EBADMSG);
	if (r.rollout_sequence != sequence || r.n_rejected != n_rejected ||
	    !streq(r.rollout_state, rollout_state))
		fail_msg("%.*s: %ju, %zu rejected, '%s'", (int)len, text,
			 (uintmax_t)r.rollout_sequence, r.n_rejected, r.rollout_state);
	assert_true(r.phase == PHASE_IDLE && r.downtime_ms == -1);
	assert_int_equal(unlinkat(scratch, "hello.json.broken", 0), 0);
}

/* What was rejected, and which policy was seen, no engine can tell. */
static void test_a_damaged_record_keeps_what_can_be_read(void **state)
{
	uint64_t sequence = (uint64_t)1 << 53;
	_cleanup_free_ char *text = NULL;
	struct record r;
	struct error e = {0};
	char *p;

	fill(&r, PHASE_TRIAL);
	save(&r);
	text = read_back("hello.json");
	/* of a later version */
	p = strstr(text, "\"version\": 1");
	p[11] = '2';
	put(text, strlen(text));
	assert_int_equal(record_load(scratch, "hello", &r, &e), -EBADMSG);
	assert_true(r.held && streq(r.rollout_policy.text, DIGEST("0009").text));
	assert_string_equal(r.rejected[3].reason, "it exited with \"3\"");
	expect_kept(text, strlen(text), sequence, 16, ROLLOUT_CLEARED);
	/* a flipped bit, which makes it no JSON */
	*strstr(text, "{") = '[';
	expect_kept(text, strlen(text), sequence, 16, ROLLOUT_CLEARED);
	/* a rejection that is not valid: those before it are kept */
	p = strstr(text, "ff0a");
	*p = 'x';
	expect_kept(text, strlen(text), sequence, 10, ROLLOUT_CLEARED);
	/* cut before the policy */
	expect_kept(text, (size_t)(strstr(text, "\"rollout_sequence") - text), 0, 10, ROLLOUT_LOST);
	/* a sequence that is none */
	expect_kept("{\"rollout_sequence\": -1, \"held\": true}",
		    sizeof("{\"rollout_sequence\": -1, \"held\": true}") - 1, 0, 0, ROLLOUT_LOST);
	expect_kept("", sizeof("") - 1, 0, 0, ROLLOUT_LOST);
	/* whole, and no policy was seen */
	expect_kept("{\"version\": 2}", sizeof("{\"version\": 2}") - 1, 0, 0, "");
	/* a text that looks like a key */
	expect_kept("{\"last_error\": \"\\\"rollout_sequence\\\": 5\"}",
		    sizeof("{\"last_error\": \"\\\"rollout_sequence\\\": 5\"}") - 1, 0, 0, "");
}

/* A seq that is lost would let an old version back: all of them are kept, or taken from what runs. */
static void test_a_damaged_record_keeps_sequences(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct error e = {0};
	struct record r;

	fill(&r, PHASE_TRIAL);
	save(&r);
	text = read_back("hello.json");
	*strstr(text, "{") = '[';
	put(text, strlen(text));
	assert_int_equal(record_load(scratch, "hello", &r, &e), -EBADMSG);
	assert_int_equal(r.n_sequences, 2);
	assert_int_equal(record_sequence(&r, &DIGEST("ab00")), 42);
	assert_int_equal(record_sequence(&r, &DIGEST("ab01")), 999999999999999999);
	assert_string_equal(r.sequences[0].digest.text, DIGEST("0001").text);
	assert_int_equal(r.statement_s, 1764000000);
	/* What was verified is verified again. */
	assert_int_equal(r.current.signature.n_keys, 0);
	assert_string_equal(r.signed_candidate.digest.text, "");
	assert_string_equal(r.rollout_manifest.text, "");
	*strstr(strstr(text, "\"sequences\""), "ab01") = 'x';
	put(text, strlen(text));
	assert_int_equal(record_load(scratch, "hello", &r, &e), -EBADMSG);
	assert_int_equal(r.n_sequences, 0);
}

static void raise_to(struct record *r, const char *key, uint64_t seq)
{
	struct key_sequence s = {DIGEST("ab00"), seq, DIGEST("0001")};

	memcpy(s.key.text + 67, key, 4);
	record_raise_sequence(r, &s);
}

static void test_sequences_only_rise(void **state)
{
	struct record r;

	record_init(&r);
	raise_to(&r, "ab00", 0);
	assert_int_equal(r.n_sequences, 0);
	raise_to(&r, "ab00", 5);
	raise_to(&r, "ab01", 7);
	raise_to(&r, "ab00", 4);
	raise_to(&r, "ab00", 5);
	assert_int_equal(r.n_sequences, 2);
	assert_int_equal(record_sequence(&r, &DIGEST("ab00")), 5);
	raise_to(&r, "ab00", 6);
	assert_int_equal(r.n_sequences, 2);
	assert_int_equal(record_sequence(&r, &DIGEST("ab00")), 6);
	assert_int_equal(record_sequence(&r, &DIGEST("ab01")), 7);
	assert_int_equal(record_sequence(&r, &DIGEST("ab02")), 0);
	/* There is room for some; the one that signed longest ago goes first. */
	for (int i = 0; i < RECORD_SEQUENCES_MAX - 1; i++) {
		_cleanup_free_ char *key = xasprintf("cd%02d", i);

		raise_to(&r, key, 1);
	}
	assert_int_equal(r.n_sequences, RECORD_SEQUENCES_MAX);
	assert_int_equal(record_sequence(&r, &DIGEST("ab01")), 0);
	assert_int_equal(record_sequence(&r, &DIGEST("ab00")), 6);
}

/* What came to stay is written with the digest that is signed. */
static void test_sequences_of_a_release(void **state)
{
	struct record r;

	record_init(&r);
	r.target.digest = DIGEST("0005");
	sign(&r.target.signature, 2);
	r.target.signature.keys[0].seq = 10;
	r.target.signature.keys[1].seq = 0;
	record_raise_sequences(&r, &r.target, 0);
	assert_int_equal(r.n_sequences, 1);
	assert_int_equal(r.statement_s, 0); /* the clock was not set */
	assert_string_equal(r.sequences[0].digest.text, DIGEST("0005").text);
	r.target.pulled = DIGEST("0006");
	r.target.signature.keys[1].seq = 9;
	record_raise_sequences(&r, &r.target, 1764000000);
	assert_int_equal(r.n_sequences, 2);
	assert_int_equal(r.statement_s, 0); /* no statement is newer than the other key's */
	assert_string_equal(r.sequences[1].digest.text, DIGEST("0006").text);
	r.target.signature.keys[1].seq = 11;
	record_raise_sequences(&r, &r.target, 1764000000);
	assert_int_equal(r.statement_s, 1764000000);
	record_raise_sequences(&r, &r.target, 1764000001); /* the same again */
	assert_int_equal(r.statement_s, 1764000000);
	assert_int_equal(record_sequence(&r, &DIGEST("ab01")), 11);
	assert_int_equal(record_sequence(&r, &DIGEST("ab00")), 10);
}

static void test_signatures_are_compared(void **state)
{
	struct signature a = {0}, b = {0};

	sign(&a, 2);
	sign(&b, 2);
	assert_true(signature_eq(&a, &b));
	memset(&b.keys[2], 'x', sizeof(b.keys[2]));
	assert_true(signature_eq(&a, &b));
	b.keys[1].seq++;
	assert_false(signature_eq(&a, &b));
	b = a;
	b.expires_s++;
	assert_false(signature_eq(&a, &b));
	b = a;
	b.keys[0].name[0] = 'x';
	assert_false(signature_eq(&a, &b));
	b = a;
	b.n_keys = 1;
	assert_false(signature_eq(&a, &b));
}

/* The largest record can be read again. */
static void test_the_largest_signatures(void **state)
{
	struct release *releases[3];
	struct record r;

	fill(&r, PHASE_REVERT);
	fill_history(&r, HISTORY_MAX);
	releases[0] = &r.current;
	releases[1] = &r.previous;
	releases[2] = &r.target;
	for (size_t i = 0; i < 3; i++)
		sign(&releases[i]->signature, SIGNATURE_KEYS_MAX);
	sign(&r.signed_candidate.signature, SIGNATURE_KEYS_MAX);
	sign(&r.rollout_signature, SIGNATURE_KEYS_MAX);
	for (r.n_sequences = 0; r.n_sequences < RECORD_SEQUENCES_MAX; r.n_sequences++)
		r.sequences[r.n_sequences] = r.sequences[1];
	for (size_t i = 0; i < r.n_rejected; i++)
		memset(r.rejected[i].reason, '"', sizeof(r.rejected[i].reason) - 1);
	for (r.n_rejected_before = 0; r.n_rejected_before < RECORD_BEFORE_MAX;
	     r.n_rejected_before++) {
		struct rejected_before *x = &r.rejected_before[r.n_rejected_before];

		x->digest = x->manifest = DIGEST("0005");
		memset(x->engine, 'e', sizeof(x->engine) - 1);
	}
	expect_round_trip(&r);
}

/* A damaged entry of the history loses nothing else, and a damaged record not its history. */
static void test_history_is_no_condition(void **state)
{
	struct error e;
	struct record r;
	json_t *j, *list;
	_cleanup_free_ char *text = NULL;

	fill(&r, PHASE_TRIAL);
	fill_history(&r, HISTORY_MAX);
	expect_round_trip(&r);
	text = read_back("hello.json");
	j = json_loads(text, 0, NULL);
	list = json_object_get(j, "history");
	assert_int_equal(json_array_size(list), HISTORY_MAX);
	json_array_set_new(list, 3, json_integer(7));
	json_object_set_new(json_array_get(list, 5), "time", json_string("yesterday"));
	expect_whole_json(j);
	assert_int_equal(record_read(scratch, "hello", &r, &e), 0);
	assert_int_equal(r.n_history, HISTORY_MAX - 2);
	assert_string_equal(r.history[HISTORY_MAX - 3].result, "rolled-back");
	assert_int_equal(r.phase, PHASE_TRIAL);
	json_object_set_new(j, "history", json_string("none"));
	expect_whole_json(j);
	json_decref(j);
	put("{\"version\":1,\"history\": [{\"time\":5,\"result\":\"updated\",\"duration_ms\":1,"
	    "\"downtime_ms\":2}], \"held\":",
	    89);
	assert_int_equal(record_load(scratch, "hello", &r, &e), -EBADMSG);
	assert_int_equal(r.n_history, 1);
	assert_int_equal(r.history[0].downtime_ms, 2);
}

static void test_history_is_bounded(void **state)
{
	struct result x = {.outcome = OUTCOME_UPDATED, .downtime_ms = 1};
	struct record r;

	record_init(&r);
	for (int i = 0; i < 2 * HISTORY_MAX; i++) {
		(void)snprintf(x.reason, sizeof(x.reason), "%d", i);
		history_add(&r, &x, 0);
	}
	assert_int_equal(r.n_history, HISTORY_MAX);
	assert_string_equal(r.history[0].reason, "20");
	/* What is refused at each poll pushes nothing out. */
	x.outcome = OUTCOME_REFUSED;
	for (int i = 0; i < 2 * HISTORY_MAX; i++)
		history_add(&r, &x, 0);
	assert_string_equal(r.history[0].reason, "21");
	assert_string_equal(r.history[HISTORY_MAX - 1].result, "refused");
	/* A clock that was set back tells no duration. */
	x.outcome = OUTCOME_UPDATED;
	history_add(&r, &x, INT64_MAX);
	assert_int_equal(r.history[HISTORY_MAX - 1].duration_ms, -1);
}

static void test_versions(void **state)
{
	static const char *const none[] = {"", "1 2", "1\n2", "\033[31m1", "1\xc3\xa4", "1\x7f"};
	char version[VERSION_TEXT_MAX];

	release_set_version(version, "v1.4.2+build~3");
	assert_string_equal(version, "v1.4.2+build~3");
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		release_set_version(version, none[i]);
		assert_string_equal(version, "");
	}
	release_set_version(version, NULL);
	assert_string_equal(version, "");
	release_set_version(version, "1234567890123456789012345678901234567890123456789");
	assert_string_equal(version, "123456789012345678901234567890123456789");
}

static void test_policy_is_remembered(void **state)
{
	struct record r = {0};

	assert_false(record_has_policy(&r) || record_forget_policy(&r));
	r.rollout_sequence = 1; /* of an earlier version of pullet */
	assert_true(record_has_policy(&r));
	copy_text(r.rollout_state, sizeof(r.rollout_state), ROLLOUT_CLEARED);
	assert_false(record_has_policy(&r));
	r = (struct record){.rollout_state = ROLLOUT_LOST};
	assert_false(record_has_policy(&r));
	r = (struct record){.rollout_state = ROLLOUT_SEEN};
	assert_true(record_has_policy(&r) && record_forget_policy(&r));
	assert_false(record_has_policy(&r) || r.rollout_state[0]);
}

static void test_unreadable(void **state)
{
	struct record r;
	struct error e = {0};

	assert_int_equal(record_load(scratch, "hello", &r, &e), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_int_equal(mkdirat(scratch, "hello.json", 0700), 0);
	assert_int_equal(record_load(scratch, "hello", &r, &e), -EBADMSG);
	assert_true(is_there("hello.json.broken") && !is_there("hello.json"));
	/* The way aside is barred: say so, rather than begin anew over it. */
	assert_int_equal(mkfifoat(scratch, "hello.json", 0600), 0);
	assert_int_equal(record_load(scratch, "hello", &r, &e), -EISDIR);
	assert_true(is_there("hello.json"));
	fill(&r, PHASE_IDLE);
	assert_true(record_save(-1, "hello", &r, &e) < 0);
	assert_true(e.code == -EBADF && after_prefix(e.text, "hello.json: cannot write: "));
}

/* Cut in the midst of a character: not written, rather than written and not read back. */
/* A reason that was cut within a character must not keep the record from being written. */
static void test_not_utf8(void **state)
{
	struct record r, again;
	struct error e = {0};

	fill(&r, PHASE_TRIAL);
	(void)strcpy(r.reason, "caf\303");
	(void)strcpy(r.last_error, "caf\303\251 \303");
	save(&r);
	assert_int_equal(record_read(scratch, "hello", &again, &e), 0);
	assert_string_equal(again.reason, "caf?");
	assert_string_equal(again.last_error, "caf\303\251 ?");
}

static void test_rejections(void **state)
{
	struct release a = {.digest = DIGEST("000a"), .manifest = DIGEST("00a0")};
	struct release none = {0};
	char reason[1000];
	struct record r;

	record_init(&r);
	assert_true(r.phase == PHASE_IDLE && r.downtime_ms == -1 && r.n_rejected == 0);
	assert_null(record_rejected(&r, &none.digest, ""));
	record_reject(&r, &a, "", "first");
	record_reject(&r, &(struct release){.digest = DIGEST("000b")}, "", "b");
	memset(reason, 'x', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	record_reject(&r, &a, "", reason);
	assert_int_equal(r.n_rejected, 2);
	assert_string_equal(r.rejected[0].reason, "b");
	assert_ptr_equal(record_rejected(&r, &a.digest, ""), r.rejected[1].reason);
	assert_ptr_equal(record_rejected(&r, &a.manifest, ""), r.rejected[1].reason);
	assert_int_equal(strlen(r.rejected[1].reason), RECORD_TEXT_MAX - 1);
	assert_null(record_rejected(&r, &none.digest,
				    "")); /* b has no manifest: that matches nothing */
	assert_null(record_rejected(&r, &DIGEST("000c"), ""));
	fill(&r, PHASE_IDLE);
	assert_non_null(record_rejected(&r, &DIGEST("ff00"), ""));
	record_reject(&r, &a, "", "one too many");
	assert_int_equal(r.n_rejected, RECORD_REJECTED_MAX);
	assert_non_null(strstr(record_rejected(&r, &DIGEST("ff00"), ""), "too long ago"));
	assert_non_null(record_rejected(&r, &DIGEST("ff01"), ""));
	assert_ptr_equal(record_rejected(&r, &a.digest, ""),
			 r.rejected[RECORD_REJECTED_MAX - 1].reason);
}

static struct release numbered(unsigned int i)
{
	struct release x = {.digest = DIGEST("0000"), .manifest = DIGEST("0000")};

	(void)snprintf(x.digest.text + 64, 8, "a%06x", i);
	(void)snprintf(x.manifest.text + 64, 8, "b%06x", i);
	return x;
}

/* Seventeen bad releases in a row do not bring the first one back, nor do hundreds that the engine cannot use. */
static void test_rejections_outlast_their_reasons(void **state)
{
	struct digest known[RECORD_KNOWN_MAX];
	struct release trial = numbered(1000), x;
	struct error e = {0};
	struct record r, back;

	record_init(&r);
	record_reject(&r, &trial, "", "it exited with status 3");
	for (unsigned int i = 0; i < RECORD_REJECTED_MAX + RECORD_BEFORE_MAX - 1; i++) {
		x = numbered(i);
		record_reject(&r, &x, "20.10", "zstd");
	}
	for (unsigned int i = 0; i < RECORD_REJECTED_MAX + RECORD_BEFORE_MAX - 1; i++) {
		x = numbered(i);
		assert_non_null(record_rejected(&r, &x.digest, "20.10"));
		assert_non_null(record_rejected(&r, &x.manifest, "20.10"));
		/* Another engine may be able to. */
		assert_null(record_rejected(&r, &x.digest, "23.0"));
	}
	assert_non_null(record_rejected(&r, &trial.digest, "23.0"));
	assert_int_equal(record_list_rejected(&r, "20.10", known), RECORD_KNOWN_MAX);
	assert_int_equal(record_list_rejected(&r, "23.0", known), 2);
	assert_int_equal(record_save(scratch, "hello", &r, &e), 0);
	assert_int_equal(record_read(scratch, "hello", &back, &e), 0);
	assert_memory_equal(&back.rejected_before, &r.rejected_before, sizeof(r.rejected_before));

	for (unsigned int i = 2000; i < 2500; i++) {
		x = numbered(i);
		record_reject(&r, &x, "20.10", "zstd");
	}
	assert_non_null(record_rejected(&r, &trial.digest, "20.10"));
	x = numbered(0);
	assert_null(record_rejected(&r, &x.digest, "20.10"));
	for (unsigned int i = 3000; i < 3000 + RECORD_REJECTED_MAX + RECORD_BEFORE_MAX; i++) {
		x = numbered(i);
		record_reject(&r, &x, "", "it exited with status 3");
	}
	assert_null(record_rejected(&r, &trial.digest, "20.10"));
	/* One that is rejected again has its reason again, and is there once. */
	x = numbered(3000);
	record_reject(&r, &x, "", "again");
	assert_string_equal(record_rejected(&r, &x.digest, ""), "again");
	assert_int_equal(r.n_rejected, RECORD_REJECTED_MAX);
	assert_int_equal(r.n_rejected_before, RECORD_BEFORE_MAX);
}

static void test_disturbed(void **state)
{
	const struct digest a = DIGEST("000a"), b = DIGEST("000b");
	struct error e = {0};
	struct record r, back;

	record_init(&r);
	for (unsigned int i = 0; i < RECORD_DISTURBED_MAX; i++) {
		assert_false(record_is_disturbed(&r, &a, "20.10"));
		record_disturbed(&r, &a, "20.10");
	}
	r.deferred = (struct disturbed){b, "", RECORD_COUNT_MAX};
	assert_int_equal(record_save(scratch, "hello", &r, &e), 0);
	assert_int_equal(record_read(scratch, "hello", &back, &e), 0);
	assert_true(digest_eq(&back.deferred.digest, &b));
	assert_int_equal(back.deferred.times, RECORD_COUNT_MAX);
	assert_true(record_is_disturbed(&back, &a, "20.10"));
	assert_false(record_is_disturbed(&back, &a, "23.0"));
	assert_false(record_is_disturbed(&back, &b, "20.10"));
	record_disturbed(&r, &b, "20.10");
	assert_false(record_is_disturbed(&r, &b, "20.10"));
	assert_false(record_is_disturbed(&r, &a, "20.10"));
}

/* In this boot, with this engine, and only if there was something to stop. */
static void test_host_refusals(void **state)
{
	struct error e = {0};
	struct record r, back;

	record_init(&r);
	r.phase = PHASE_REVERT;
	r.target.digest = DIGEST("000a");
	record_host_refused(&r, "boot", "20.10");
	assert_true(r.host.refused && r.host.times == 0);
	r.serving = true;
	for (unsigned int i = 0; i < RECORD_HOST_MAX; i++) {
		assert_false(record_host_is_hopeless(&r, "boot", "20.10"));
		record_host_refused(&r, "boot", "20.10");
	}
	assert_int_equal(record_save(scratch, "hello", &r, &e), 0);
	assert_int_equal(record_read(scratch, "hello", &back, &e), 0);
	assert_true(back.host.refused && record_host_is_hopeless(&back, "boot", "20.10"));
	assert_false(record_host_is_hopeless(&back, "next boot", "20.10"));
	assert_false(record_host_is_hopeless(&back, "boot", "28.5"));
	record_host_refused(&back, "boot", "28.5");
	assert_int_equal(back.host.times, 1);
}

#define in_empty_dir(test) cmocka_unit_test_teardown(test, empty_dir)

/* Two tries a boot for each version. */
static void test_damage(void **state)
{
	struct record r;

	record_init(&r);
	r.target.digest = DIGEST("000a");
	assert_false(record_is_hopeless(&r, &r.target.digest, "boot"));
	record_damage(&r, "boot");
	assert_false(record_is_hopeless(&r, &r.target.digest, "boot"));
	record_damage(&r, "boot");
	assert_true(record_is_hopeless(&r, &r.target.digest, "boot"));
	assert_false(record_is_hopeless(&r, &r.target.digest, "next boot"));
	assert_false(record_is_hopeless(&r, &DIGEST("000b"), "boot"));
	record_damage(&r, "next boot");
	assert_false(record_is_hopeless(&r, &r.target.digest, "next boot"));
	r.target.digest = DIGEST("000b");
	record_damage(&r, "next boot");
	assert_int_equal(r.damage.tries, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_empty_dir(test_round_trips),
		in_empty_dir(test_keys),
		in_empty_dir(test_values),
		in_empty_dir(test_rejected_too_many),
		in_empty_dir(test_texts),
		in_empty_dir(test_mutations),
		in_empty_dir(test_not_now),
		in_empty_dir(test_unreadable),
		in_empty_dir(test_not_utf8),
		cmocka_unit_test(test_rejections),
		in_empty_dir(test_rejections_outlast_their_reasons),
		in_empty_dir(test_disturbed),
		in_empty_dir(test_a_damaged_record_keeps_what_can_be_read),
		in_empty_dir(test_a_damaged_record_keeps_sequences),
		cmocka_unit_test(test_sequences_only_rise),
		cmocka_unit_test(test_sequences_of_a_release),
		cmocka_unit_test(test_signatures_are_compared),
		in_empty_dir(test_the_largest_signatures),
		in_empty_dir(test_history_is_no_condition),
		cmocka_unit_test(test_history_is_bounded),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_policy_is_remembered),
		in_empty_dir(test_host_refusals),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
