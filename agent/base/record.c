/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "json.h"

#define RECORD_VERSION	1
#define RECORD_FILE_MAX ((size_t)96 * 1024)

const char *const signature_place_names[SIGNATURE_PLACES] = {
	[SIGNATURES_TAG] = "tag",
	[SIGNATURES_REFERRERS] = "referrers",
	[SIGNATURES_FALLBACK] = "fallback",
};

const char phase_names[PHASE_MAX][8] = {
	[PHASE_IDLE] = "idle",	   [PHASE_PREPARE] = "prepare", [PHASE_TRIAL] = "trial",
	[PHASE_COMMIT] = "commit", [PHASE_REVERT] = "revert",
};

void record_init(struct record *r)
{
	*r = (struct record){.phase = PHASE_IDLE, .downtime_ms = -1};
}

/* A key and its field, for both directions. The readers accept only what Pullet writes. */
struct field {
	const char *key;
	enum {
		TEXT,
		DIGEST,
		BOOL,
		COUNT,	/* unsigned int, at most RECORD_COUNT_MAX */
		NUMBER, /* int64_t or uint64_t, not negative */
		SIGNED, /* int64_t */
		OBJECT, /* empty without the digest that it begins with; a release may have an image only */
		LIST,  /* an array and the number of its entries */
		PLACE, /* enum signature_place, by its name; the first one is empty */
	} kind;
	enum {
		ALWAYS,
		OR_NULL = 1,   /* null if it is empty */
		OR_ABSENT = 2, /* left out if empty (a BOOL never is), and by earlier versions */
		LENIENT = 4,   /* entries of the LIST that are not valid are left out */
	} presence;
	size_t offset, size;
	const struct field *fields; /* of an OBJECT, or of an entry */
	size_t n_offset, n_max;	    /* of a LIST */
};

#define FIELD(type, name) .offset = offsetof(type, name), .size = sizeof(((type *)0)->name)
#define ENTRIES_OF(type, list, entry_fields)                                                \
	FIELD(type, list[0]), .fields = entry_fields, .n_offset = offsetof(type, n_##list), \
			      .n_max = ARRAY_SIZE(((type *)0)->list)
#define ENTRIES(list, entry_fields) ENTRIES_OF(struct record, list, entry_fields)

static const struct field signed_key_fields[] = {
	{"name", TEXT, ALWAYS, FIELD(struct signed_key, name)},
	{"id", DIGEST, ALWAYS, FIELD(struct signed_key, id)},
	{"seq", NUMBER, ALWAYS, FIELD(struct signed_key, seq)},
	{0}};

static const struct field signature_fields[] = {
	{"keys", LIST, ALWAYS, ENTRIES_OF(struct signature, keys, signed_key_fields)},
	{"expires", NUMBER, ALWAYS, FIELD(struct signature, expires_s)},
	{"for", DIGEST, OR_ABSENT, FIELD(struct signature, reference)},
	{0}};

static const struct field release_fields[] = {
	{"digest", DIGEST, OR_NULL, FIELD(struct release, digest)},
	{"manifest", DIGEST, OR_NULL, FIELD(struct release, manifest)},
	{"image", TEXT, OR_NULL, FIELD(struct release, image)},
	{"brought", BOOL, ALWAYS, FIELD(struct release, brought)},
	{"pulled", DIGEST, OR_NULL, FIELD(struct release, pulled)},
	{"version", TEXT, OR_ABSENT, FIELD(struct release, version)},
	{"signature", OBJECT, OR_ABSENT, FIELD(struct release, signature),
	 .fields = signature_fields},
	{0}};

static const struct field key_sequence_fields[] = {
	{"key", DIGEST, ALWAYS, FIELD(struct key_sequence, key)},
	{"seq", NUMBER, ALWAYS, FIELD(struct key_sequence, seq)},
	{"digest", DIGEST, ALWAYS, FIELD(struct key_sequence, digest)},
	{0}};

static const struct field signed_fields[] = {
	{"digest", DIGEST, ALWAYS, FIELD(struct signed_candidate, digest)},
	{"pulled", DIGEST, ALWAYS, FIELD(struct signed_candidate, pulled)},
	{"signature", OBJECT, ALWAYS, FIELD(struct signed_candidate, signature),
	 .fields = signature_fields},
	{0}};

static const struct field rejected_fields[] = {
	{"digest", DIGEST, ALWAYS, FIELD(struct rejected, digest)},
	{"manifest", DIGEST, OR_NULL, FIELD(struct rejected, manifest)},
	{"engine", TEXT, OR_ABSENT, FIELD(struct rejected, engine)},
	{"reason", TEXT, OR_NULL, FIELD(struct rejected, reason)},
	{0}};

static const struct field rejected_before_fields[] = {
	{"digest", DIGEST, ALWAYS, FIELD(struct rejected_before, digest)},
	{"manifest", DIGEST, OR_ABSENT, FIELD(struct rejected_before, manifest)},
	{"engine", TEXT, OR_ABSENT, FIELD(struct rejected_before, engine)},
	{0}};

static const struct field follower_fields[] = {
	{"name", TEXT, ALWAYS, FIELD(struct follower, name)},
	{"old_id", TEXT, OR_NULL, FIELD(struct follower, old_id)},
	{"new_id", TEXT, OR_NULL, FIELD(struct follower, new_id)},
	{"policy", TEXT, OR_NULL, FIELD(struct follower, policy)},
	{"serving", BOOL, ALWAYS, FIELD(struct follower, serving)},
	{0}};

static const struct field damage_fields[] = {
	{"digest", DIGEST, ALWAYS, FIELD(struct damage, digest)},
	{"boot_id", TEXT, OR_NULL, FIELD(struct damage, boot_id)},
	{"tries", COUNT, ALWAYS, FIELD(struct damage, tries)},
	{0}};

static const struct field disturbed_fields[] = {
	{"digest", DIGEST, ALWAYS, FIELD(struct disturbed, digest)},
	{"engine", TEXT, OR_ABSENT, FIELD(struct disturbed, engine)},
	{"times", COUNT, ALWAYS, FIELD(struct disturbed, times)},
	{0}};

static const struct field seen_fields[] = {
	{"digest", DIGEST, ALWAYS, .offset = 0},
	{"at", NUMBER, ALWAYS,
	 .offset = offsetof(struct record, seen_s) - offsetof(struct record, seen)},
	{0}};

static const struct field history_fields[] = {
	{"time", NUMBER, ALWAYS, FIELD(struct history_entry, at_s)},
	{"result", TEXT, ALWAYS, FIELD(struct history_entry, result)},
	{"from", DIGEST, OR_ABSENT, FIELD(struct history_entry, from)},
	{"to", DIGEST, OR_ABSENT, FIELD(struct history_entry, to)},
	{"version_from", TEXT, OR_ABSENT, FIELD(struct history_entry, from_version)},
	{"version_to", TEXT, OR_ABSENT, FIELD(struct history_entry, to_version)},
	{"duration_ms", SIGNED, ALWAYS, FIELD(struct history_entry, duration_ms)},
	{"downtime_ms", SIGNED, ALWAYS, FIELD(struct history_entry, downtime_ms)},
	{"reason", TEXT, OR_ABSENT, FIELD(struct history_entry, reason)},
	{0}};

static const struct field record_fields[] = {
	{"current", OBJECT, OR_NULL, FIELD(struct record, current), .fields = release_fields},
	{"previous", OBJECT, OR_NULL, FIELD(struct record, previous), .fields = release_fields},
	{"rejected", LIST, ALWAYS, ENTRIES(rejected, rejected_fields)},
	{"rejected_before", LIST, OR_ABSENT, ENTRIES(rejected_before, rejected_before_fields)},
	{"damage", OBJECT, OR_NULL | OR_ABSENT, FIELD(struct record, damage),
	 .fields = damage_fields},
	{"disturbed", OBJECT, OR_ABSENT, FIELD(struct record, disturbed),
	 .fields = disturbed_fields},
	{"deferred", OBJECT, OR_ABSENT, FIELD(struct record, deferred), .fields = disturbed_fields},
	{"held", BOOL, OR_ABSENT, FIELD(struct record, held)},
	{"held_until", NUMBER, OR_ABSENT, FIELD(struct record, hold.until_s)},
	{"held_by", TEXT, OR_ABSENT, FIELD(struct record, hold.by)},
	{"held_reason", TEXT, OR_ABSENT, FIELD(struct record, hold.reason)},
	{"told", DIGEST, OR_ABSENT, FIELD(struct record, told)},
	{"platform", TEXT, OR_ABSENT, FIELD(struct record, platform)},
	{"last_error", TEXT, OR_NULL, FIELD(struct record, last_error)},
	{"downtime_ms", SIGNED, ALWAYS, FIELD(struct record, downtime_ms)},
	{"rollout_sequence", NUMBER, OR_ABSENT, FIELD(struct record, rollout_sequence)},
	{"rollout_policy", DIGEST, OR_ABSENT, FIELD(struct record, rollout_policy)},
	{"rollout_state", TEXT, OR_ABSENT, FIELD(struct record, rollout_state)},
	{"seen", OBJECT, OR_ABSENT, FIELD(struct record, seen), .fields = seen_fields},
	{"history", LIST, OR_ABSENT | LENIENT, ENTRIES(history, history_fields)},
	{"sequences", LIST, OR_ABSENT, ENTRIES(sequences, key_sequence_fields)},
	{"statement", NUMBER, OR_ABSENT, FIELD(struct record, statement_s)},
	{"renewal", NUMBER, OR_ABSENT, FIELD(struct record, renewal_s)},
	{"signature-place", PLACE, OR_ABSENT, FIELD(struct record, place)},
	{"signed", OBJECT, OR_ABSENT, FIELD(struct record, signed_candidate),
	 .fields = signed_fields},
	{"floor", DIGEST, OR_ABSENT, FIELD(struct record, floor)},
	{"rollout-manifest", DIGEST, OR_ABSENT, FIELD(struct record, rollout_manifest)},
	{"rollout-signature", OBJECT, OR_ABSENT, FIELD(struct record, rollout_signature),
	 .fields = signature_fields},
	{"rollout-refused", DIGEST, OR_ABSENT, FIELD(struct record, rollout_refused)},
	{0}};

/* What the engine cannot tell when the record is lost. */
static const char kept_keys[][20] = {"rejected",	 "rejected_before", "held",
				     "held_until",	 "held_by",	    "held_reason",
				     "rollout_sequence", "rollout_policy",  "rollout_state",
				     "history",		 "sequences",	    "statement"};

static const struct field host_fields[] = {
	{"boot_id", TEXT, ALWAYS, FIELD(struct host_refusal, boot_id)},
	{"engine", TEXT, OR_NULL, FIELD(struct host_refusal, engine)},
	{"refused", BOOL, ALWAYS, FIELD(struct host_refusal, refused)},
	{"times", COUNT, ALWAYS, FIELD(struct host_refusal, times)},
	{0}};

static const struct field update_fields[] = {
	{"target", OBJECT, OR_NULL, FIELD(struct record, target), .fields = release_fields},
	{"rollback", BOOL, OR_ABSENT, FIELD(struct record, rollback)},
	{"began_ms", NUMBER, OR_ABSENT, FIELD(struct record, began_ms)},
	{"synced", BOOL, ALWAYS, FIELD(struct record, synced)},
	{"boot_id", TEXT, OR_NULL, FIELD(struct record, boot_id)},
	{"old_id", TEXT, OR_NULL, FIELD(struct record, old_id)},
	{"new_id", TEXT, OR_NULL, FIELD(struct record, new_id)},
	{"policy", TEXT, OR_NULL, FIELD(struct record, policy)},
	{"serving", BOOL, ALWAYS, FIELD(struct record, serving)},
	{"ordered", BOOL, OR_ABSENT, FIELD(struct record, ordered)},
	{"followers", LIST, ALWAYS, ENTRIES(followers, follower_fields)},
	{"starts", COUNT, ALWAYS, FIELD(struct record, starts)},
	{"blame", BOOL, ALWAYS, FIELD(struct record, reject_target)},
	{"host", OBJECT, OR_ABSENT, FIELD(struct record, host), .fields = host_fields},
	{"reason", TEXT, OR_NULL, FIELD(struct record, reason)},
	{0}};

static json_t *fields_to_json(json_t *j, const struct field *f, const char *base);

static json_t *value_to_json(const struct field *f, const char *base)
{
	const void *p = base + f->offset;
	json_t *list;

	switch (f->kind) {
	case TEXT:
	case DIGEST:
		return json_string_lossy(p); /* a reason may be cut within a character */
	case BOOL:
		return json_boolean(*(const bool *)p);
	case COUNT:
		return json_integer(*(const unsigned int *)p);
	case NUMBER:
	case SIGNED:
		return json_integer(*(const int64_t *)p);
	case OBJECT:
		return fields_to_json(json_object(), f->fields, p);
	case LIST:
		list = json_array();
		for (size_t i = 0; i < *(const size_t *)(base + f->n_offset); i++)
			json_append(list, fields_to_json(json_object(), f->fields,
							 (const char *)p + i * f->size));
		return list;
	case PLACE:
		return json_string(signature_place_names[*(const enum signature_place *)p]);
	}
	return NULL;
}

static bool is_empty(const struct field *f, const char *base)
{
	const char *p = base + f->offset;

	if (f->kind == NUMBER)
		return *(const int64_t *)p == 0;
	if (f->kind == LIST)
		return *(const size_t *)(base + f->n_offset) == 0;
	if (f->kind == PLACE)
		return *(const enum signature_place *)p == 0;
	if (f->fields == release_fields)
		return !release_is_set((const void *)p);
	if (f->fields == signature_fields)
		return ((const struct signature *)p)->n_keys == 0;
	return f->kind != BOOL && !*p;
}

/* Adds the fields at base to j, and returns it. */
static json_t *fields_to_json(json_t *j, const struct field *f, const char *base)
{
	for (; f->key; f++) {
		if (f->presence == ALWAYS || !is_empty(f, base))
			json_put(j, f->key, value_to_json(f, base));
		else if (f->presence & OR_NULL)
			json_put(j, f->key, json_null());
	}
	return j;
}

static json_t *record_to_json(const struct record *r)
{
	json_t *j = fields_to_json(
		json_pack("{s:i, s:s}", "version", RECORD_VERSION, "phase", phase_names[r->phase]),
		record_fields, (const char *)r);

	if (r->phase != PHASE_IDLE)
		json_put(j, "update",
			 fields_to_json(json_object(), update_fields, (const char *)r));
	return j;
}

static const char *read_fields(const json_t *o, const struct field *f, char *base);

static const char *read_list(const json_t *list, const struct field *f, char *base)
{
	size_t *n = (void *)(base + f->n_offset), i;
	const json_t *one;

	if (!json_is_array(list) || json_array_size(list) > f->n_max)
		return f->presence & LENIENT ? NULL : f->key;
	json_array_foreach (list, i, one) {
		char *entry = base + f->offset + *n * f->size;
		const char *fault = read_fields(one, f->fields, entry);

		if (!fault)
			(*n)++;
		else if (f->presence & LENIENT)
			memset(entry, 0, f->size);
		else
			return fault;
	}
	return NULL;
}

static bool read_place(const char *text, enum signature_place *ret)
{
	for (size_t i = 0; text && i < SIGNATURE_PLACES; i++) {
		*ret = (enum signature_place)i;
		if (streq(text, signature_place_names[i]))
			return true;
	}
	*ret = SIGNATURES_TAG;
	return false;
}

/* Returns the first key that is missing or not valid, or NULL. */
static const char *read_value(const json_t *v, const struct field *f, char *base)
{
	void *p = base + f->offset;
	const char *text = json_string_value(v);
	json_int_t n = json_integer_value(v);
	bool valid = json_is_integer(v);

	switch (f->kind) {
	case TEXT:
		valid = text && strlen(text) < f->size && (*text || f->presence == OR_NULL);
		copy_text(p, f->size, valid ? text : NULL);
		break;
	case DIGEST:
		valid = digest_parse(text, p) == 0;
		break;
	case BOOL:
		valid = json_is_boolean(v);
		*(bool *)p = json_is_true(v);
		break;
	case COUNT:
		valid = valid && n >= 0 && n <= RECORD_COUNT_MAX;
		*(unsigned int *)p = (unsigned int)n;
		break;
	case NUMBER:
	case SIGNED:
		valid = valid && (n >= 0 || f->kind == SIGNED);
		*(int64_t *)p = n;
		break;
	case OBJECT:
		return json_is_object(v) ? read_fields(v, f->fields, p) : f->key;
	case LIST:
		return read_list(v, f, base);
	case PLACE:
		valid = read_place(text, p);
		break;
	}
	return valid ? NULL : f->key;
}

static const char *read_fields(const json_t *o, const struct field *f, char *base)
{
	const char *fault = NULL;

	for (; f->key && !fault; f++) {
		const json_t *v = json_object_get(o, f->key);

		if (v ? !json_is_null(v) || !(f->presence & OR_NULL) : !(f->presence & OR_ABSENT))
			fault = read_value(v, f, base);
	}
	return fault;
}

static const char *read_record(const json_t *j, struct record *ret)
{
	const char *name = json_get_string(j, "phase"), *fault;
	size_t phase = 0;

	while (phase < PHASE_MAX && !streq_null(name, phase_names[phase]))
		phase++;
	if (phase == PHASE_MAX)
		return "phase";
	ret->phase = (enum phase)phase;
	fault = read_fields(j, record_fields, (char *)ret);
	if (fault || ret->phase == PHASE_IDLE)
		return fault;
	fault = read_fields(json_object_get(j, "update"), update_fields, (char *)ret);
	if (!fault && ret->phase != PHASE_REVERT && !release_is_set(&ret->target))
		return "target";
	return fault;
}

static int parse(const char *text, size_t len, struct record *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	const char *fault;
	int r = json_parse(text, len, "record", &j, ret_error);

	if (r < 0)
		return r;
	if (json_integer_value(json_object_get(j, "version")) != RECORD_VERSION)
		return error_set(ret_error, -EBADMSG, "record: not of version %d", RECORD_VERSION);
	fault = read_record(j, ret);
	return fault ? error_set(ret_error, -EBADMSG, "record: '%s' is missing or not valid", fault)
		     : 0;
}

int record_read(int state_dir, const char *name, struct record *ret, struct error *ret_error)
{
	_cleanup_free_ char *file = xasprintf("%s.json", name);
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ struct record *fresh = xmalloc(sizeof(*fresh));
	size_t len = 0;
	int r = read_file_at(state_dir, file, RECORD_FILE_MAX, &text, &len);

	/* Other errors pass, such as a lack of memory: the record is not broken. */
	if (r < 0 && r != -EFBIG && r != -EISDIR && r != -EINVAL)
		return error_set(ret_error, r, "%s: %s", file, strerror(-r));
	record_init(fresh);
	if (r < 0)
		(void)error_set(ret_error, r, "record: %s", strerror(-r));
	else
		r = parse(text, len, fresh, ret_error);
	if (r < 0)
		return ret_error->code = -EBADMSG;
	*ret = *fresh;
	return 0;
}

/* Reads one field into *ret, unless it is not valid. Of a list it takes the entries before the first such, unless that is
 * of sequences: without the whole list they are taken from what runs. */
static bool salvage_field(json_t *whole, const char *text, size_t len, const struct field *f,
			  struct record *ret)
{
	const struct field alone[] = {*f, {0}};
	_cleanup_free_ struct record *one = xmalloc(sizeof(*one));
	_cleanup_json_ json_t *j = json_object(),
			      *value = whole ? json_incref(json_object_get(whole, f->key))
					     : json_find_value(text, len, f->key, false);
	size_t *entries = (void *)((char *)one + f->n_offset);
	bool valid;

	if (!value)
		return false;
	*one = *ret;
	json_put(j, f->key, json_incref(value));
	valid = !read_fields(j, alone, (char *)one);
	valid |= f->kind == LIST && f->fields != key_sequence_fields && *entries > 0;
	if (valid)
		*ret = *one;
	return valid;
}

/* Reads what is left of a record that is not valid. */
static void salvage(const char *text, size_t len, struct record *ret)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	bool whole = json_parse(text, len, "record", &j, &ignored) == 0 && json_is_object(j);

	for (size_t i = 0; i < ARRAY_SIZE(kept_keys); i++) {
		const struct field *f = record_fields;

		while (!streq(f->key, kept_keys[i]))
			f++;
		whole |= salvage_field(j, text, len, f, ret) && streq(f->key, "rollout_sequence");
	}
	if (!whole || (json_object_get(j, "rollout_sequence") && ret->rollout_sequence == 0))
		copy_text(ret->rollout_state, sizeof(ret->rollout_state), ROLLOUT_LOST);
}

int record_load(int state_dir, const char *name, struct record *ret, struct error *ret_error)
{
	_cleanup_free_ char *file = xasprintf("%s.json", name), *text = NULL;
	_cleanup_free_ char *aside = xasprintf("%s.json.broken", name);
	size_t len = 0;
	int r = record_read(state_dir, name, ret, ret_error);

	if (r != -EBADMSG)
		return r;
	record_init(ret);
	(void)!read_file_at(state_dir, file, RECORD_FILE_MAX, &text, &len);
	salvage(text ? text : "", len, ret);
	if (renameat(state_dir, file, state_dir, aside) < 0)
		return error_set(ret_error, -errno, "%s: cannot rename to %s: %m", file, aside);
	return error_prefix(ret_error, "%s set aside", aside);
}

int record_save(int state_dir, const char *name, const struct record *r, struct error *ret_error)
{
	_cleanup_free_ char *file = xasprintf("%s.json", name);
	_cleanup_json_ json_t *j = record_to_json(r);
	_cleanup_free_ char *text = json_text(j, JSON_INDENT(1));
	_cleanup_free_ char *lines = NULL;
	int q;

	if (!text)
		return error_set(ret_error, -EINVAL, "%s: a text in it is not UTF-8, or no memory",
				 file);
	lines = xasprintf("%s\n", text);
	q = write_file_atomic_at(state_dir, file, 0640, lines, strlen(lines));
	return q < 0 ? error_set(ret_error, q, "%s: cannot write: %s", file, strerror(-q)) : 0;
}

void record_damage(struct record *r, const char *boot_id)
{
	struct damage *d = &r->damage;

	if (!digest_is_set(&r->target.digest))
		return;
	if (!digest_eq(&d->digest, &r->target.digest) || !streq(d->boot_id, boot_id))
		*d = (struct damage){.digest = r->target.digest};
	copy_text(d->boot_id, sizeof(d->boot_id), boot_id);
	d->tries++;
}

bool record_forget_policy(struct record *r)
{
	bool known = r->rollout_sequence > 0 || r->rollout_state[0];

	r->rollout_sequence = 0;
	r->rollout_policy = (struct digest){0};
	r->rollout_state[0] = '\0';
	return known;
}

void record_disturbed(struct record *r, const struct digest *d, const char *engine)
{
	struct disturbed *x = &r->disturbed;

	if (!digest_is_set(d))
		return;
	if (!digest_eq(&x->digest, d) || !streq(x->engine, engine))
		x->times = 0;
	x->digest = *d;
	copy_text(x->engine, sizeof(x->engine), engine);
	x->times += x->times < RECORD_COUNT_MAX;
}

bool record_is_disturbed(const struct record *r, const struct digest *d, const char *engine)
{
	return digest_eq(&r->disturbed.digest, d) && streq(r->disturbed.engine, engine) &&
	       r->disturbed.times >= RECORD_DISTURBED_MAX;
}

void record_host_refused(struct record *r, const char *boot_id, const char *engine)
{
	struct host_refusal *h = &r->host;

	if (!streq(h->boot_id, boot_id) || !streq(h->engine, engine))
		h->times = 0;
	copy_text(h->boot_id, sizeof(h->boot_id), boot_id);
	copy_text(h->engine, sizeof(h->engine), engine);
	h->refused = true;
	h->times += r->serving && h->times < RECORD_COUNT_MAX;
}

bool record_host_is_hopeless(const struct record *r, const char *boot_id, const char *engine)
{
	return r->host.times >= RECORD_HOST_MAX && streq(r->host.boot_id, boot_id) &&
	       streq(r->host.engine, engine);
}
