/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "json.h"

#define RECORD_VERSION	1
#define RECORD_FILE_MAX ((size_t)64 * 1024)
#define COUNT_MAX	1000

static const char phase_names[][8] = {
	[PHASE_IDLE] = "idle",	   [PHASE_PREPARE] = "prepare", [PHASE_TRIAL] = "trial",
	[PHASE_COMMIT] = "commit", [PHASE_REVERT] = "revert",
};

const char *phase_name(enum phase phase)
{
	return phase_names[phase];
}

void record_init(struct record *r)
{
	*r = (struct record){.phase = PHASE_IDLE, .downtime_ms = -1};
}

/* Not checked: what is not UTF-8 fails in json_text(), as it could not be read back. */
static json_t *text_to_json(const char *s)
{
	return *s ? json_string_nocheck(s) : json_null();
}

static json_t *release_to_json(const struct release *r)
{
	if (!digest_is_set(&r->digest))
		return json_null();
	return json_pack("{s:s, s:o, s:o, s:b, s:o}", "digest", r->digest.text, "manifest",
			 text_to_json(r->manifest.text), "image", text_to_json(r->image), "brought",
			 r->brought, "pulled", text_to_json(r->pulled.text));
}

static json_t *rejected_to_json(const struct record *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n_rejected; i++) {
		const struct rejected *x = &r->rejected[i];

		json_append(list, json_pack("{s:s, s:o, s:o}", "digest", x->digest.text, "manifest",
					    text_to_json(x->manifest.text), "reason",
					    json_string_nocheck(x->reason)));
	}
	return list;
}

static json_t *followers_to_json(const struct record *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n_followers; i++) {
		const struct follower *f = &r->followers[i];

		json_append(list,
			    json_pack("{s:o, s:o, s:o, s:o, s:b}", "name",
				      json_string_nocheck(f->name), "old_id",
				      text_to_json(f->old_id), "new_id", text_to_json(f->new_id),
				      "policy", text_to_json(f->policy), "serving", f->serving));
	}
	return list;
}

static json_t *damage_to_json(const struct damage *d)
{
	if (!digest_is_set(&d->digest))
		return json_null();
	return json_pack("{s:s, s:o, s:i}", "digest", d->digest.text, "boot_id",
			 json_string_nocheck(d->boot_id), "tries", (int)d->tries);
}

static json_t *update_to_json(const struct record *r)
{
	return json_pack("{s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:b, s:o, s:i, s:b, s:o}", "target",
			 release_to_json(&r->target), "rollback", r->rollback, "synced", r->synced,
			 "boot_id", text_to_json(r->boot_id), "old_id", text_to_json(r->old_id),
			 "new_id", text_to_json(r->new_id), "policy", text_to_json(r->policy),
			 "serving", r->serving, "followers", followers_to_json(r), "starts",
			 (int)r->starts, "blame", r->reject_target, "reason",
			 text_to_json(r->reason));
}

static json_t *record_to_json(const struct record *r)
{
	json_t *j = json_need(json_pack(
		"{s:i, s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:I}", "version", RECORD_VERSION, "phase",
		phase_name(r->phase), "current", release_to_json(&r->current), "previous",
		release_to_json(&r->previous), "rejected", rejected_to_json(r), "damage",
		damage_to_json(&r->damage), "held", r->held, "last_error",
		text_to_json(r->last_error), "downtime_ms", (json_int_t)r->downtime_ms));

	/* Absent without a rollout policy, and from the records of earlier versions. */
	if (r->rollout_sequence > 0)
		json_put(j, "rollout_sequence", json_integer((json_int_t)r->rollout_sequence));
	if (digest_is_set(&r->seen))
		json_put(j, "seen",
			 json_pack("{s:s, s:I}", "digest", r->seen.text, "at",
				   (json_int_t)r->seen_s));
	if (r->phase != PHASE_IDLE)
		json_put(j, "update", update_to_json(r));
	return j;
}

/* The readers accept only what Pullet writes. */
struct reader {
	const char *fault; /* the first key that is missing or not valid */
};

static bool check(struct reader *rd, bool valid, const char *key)
{
	if (!valid && !rd->fault)
		rd->fault = key;
	return valid;
}

static void read_text(struct reader *rd, const json_t *o, const char *key, char *ret, size_t size)
{
	const json_t *v = json_object_get(o, key);

	if (json_is_null(v))
		ret[0] = '\0';
	else if (check(rd, json_is_string(v) && json_string_length(v) < size, key))
		memcpy(ret, json_string_value(v), json_string_length(v) + 1);
}

static bool read_bool(struct reader *rd, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	(void)check(rd, json_is_boolean(v), key);
	return json_is_true(v);
}

/* Records of earlier versions do not have it. */
static bool read_flag(struct reader *rd, const json_t *o, const char *key)
{
	return json_object_get(o, key) ? read_bool(rd, o, key) : false;
}

/* An integer from least to most; else 0. */
static json_int_t read_int(struct reader *rd, const json_t *o, const char *key, json_int_t least,
			   json_int_t most)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);

	return check(rd, json_is_integer(v) && n >= least && n <= most, key) ? n : 0;
}

static void read_digest(struct reader *rd, const json_t *o, const char *key, bool needed,
			struct digest *ret)
{
	const json_t *v = json_object_get(o, key);

	if (json_is_null(v) && !needed)
		return;
	(void)check(rd, json_is_string(v) && digest_parse(json_string_value(v), ret) == 0, key);
}

static void read_release(struct reader *rd, const json_t *o, const char *key, bool needed,
			 struct release *ret)
{
	const json_t *v = json_object_get(o, key);

	if (json_is_null(v) && !needed)
		return;
	if (!check(rd, json_is_object(v), key))
		return;
	read_digest(rd, v, "digest", true, &ret->digest);
	read_digest(rd, v, "manifest", false, &ret->manifest);
	read_text(rd, v, "image", ret->image, sizeof(ret->image));
	ret->brought = read_bool(rd, v, "brought");
	read_digest(rd, v, "pulled", false, &ret->pulled);
}

static void read_rejected(struct reader *rd, const json_t *o, struct record *ret)
{
	const json_t *list = json_object_get(o, "rejected"), *v;
	size_t i;

	if (!check(rd, json_is_array(list) && json_array_size(list) <= RECORD_REJECTED_MAX,
		   "rejected"))
		return;
	json_array_foreach (list, i, v) {
		struct rejected *x = &ret->rejected[ret->n_rejected++];

		read_digest(rd, v, "digest", true, &x->digest);
		read_digest(rd, v, "manifest", false, &x->manifest);
		read_text(rd, v, "reason", x->reason, sizeof(x->reason));
	}
}

/* Records of earlier versions do not have it. */
static void read_damage(struct reader *rd, const json_t *o, struct damage *ret)
{
	const json_t *v = json_object_get(o, "damage");

	if (!v || json_is_null(v))
		return;
	read_digest(rd, v, "digest", true, &ret->digest);
	read_text(rd, v, "boot_id", ret->boot_id, sizeof(ret->boot_id));
	ret->tries = (unsigned int)read_int(rd, v, "tries", 0, COUNT_MAX);
}

static void read_phase(struct reader *rd, const json_t *o, enum phase *ret)
{
	const char *name = json_get_string(o, "phase");

	for (size_t i = 0; name && i < ARRAY_SIZE(phase_names); i++) {
		if (streq(name, phase_names[i])) {
			*ret = (enum phase)i;
			return;
		}
	}
	(void)check(rd, false, "phase");
}

static void read_followers(struct reader *rd, const json_t *u, struct record *ret)
{
	const json_t *list = json_object_get(u, "followers"), *v;
	size_t i;

	if (!check(rd, json_is_array(list) && json_array_size(list) <= FOLLOWERS_MAX, "followers"))
		return;
	json_array_foreach (list, i, v) {
		struct follower *f = &ret->followers[ret->n_followers++];

		read_text(rd, v, "name", f->name, sizeof(f->name));
		read_text(rd, v, "old_id", f->old_id, sizeof(f->old_id));
		read_text(rd, v, "new_id", f->new_id, sizeof(f->new_id));
		read_text(rd, v, "policy", f->policy, sizeof(f->policy));
		f->serving = read_bool(rd, v, "serving");
		(void)check(rd, f->name[0], "name");
	}
}

static void read_update(struct reader *rd, const json_t *o, struct record *ret)
{
	const json_t *u = json_object_get(o, "update");

	if (ret->phase == PHASE_IDLE)
		return;
	read_release(rd, u, "target", ret->phase != PHASE_REVERT, &ret->target);
	ret->rollback = read_flag(rd, u, "rollback");
	ret->synced = read_bool(rd, u, "synced");
	read_text(rd, u, "boot_id", ret->boot_id, sizeof(ret->boot_id));
	read_text(rd, u, "old_id", ret->old_id, sizeof(ret->old_id));
	read_text(rd, u, "new_id", ret->new_id, sizeof(ret->new_id));
	read_text(rd, u, "policy", ret->policy, sizeof(ret->policy));
	ret->serving = read_bool(rd, u, "serving");
	read_followers(rd, u, ret);
	ret->starts = (unsigned int)read_int(rd, u, "starts", 0, COUNT_MAX);
	ret->reject_target = read_bool(rd, u, "blame");
	read_text(rd, u, "reason", ret->reason, sizeof(ret->reason));
}

static void read_rollout(struct reader *rd, const json_t *o, struct record *ret)
{
	const json_t *seen = json_object_get(o, "seen");

	if (json_object_get(o, "rollout_sequence"))
		ret->rollout_sequence = (uint64_t)read_int(rd, o, "rollout_sequence", 0, INT64_MAX);
	if (seen) {
		read_digest(rd, seen, "digest", true, &ret->seen);
		ret->seen_s = read_int(rd, seen, "at", 0, INT64_MAX);
	}
}

static int parse(const char *text, size_t len, struct record *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	struct reader rd = {0};
	int r = json_parse(text, len, "record", &j, ret_error);

	if (r < 0)
		return r;
	if (json_integer_value(json_object_get(j, "version")) != RECORD_VERSION)
		return error_set(ret_error, -EBADMSG, "record: not of version %d", RECORD_VERSION);
	read_phase(&rd, j, &ret->phase);
	read_release(&rd, j, "current", false, &ret->current);
	read_release(&rd, j, "previous", false, &ret->previous);
	read_rejected(&rd, j, ret);
	read_damage(&rd, j, &ret->damage);
	ret->held = read_flag(&rd, j, "held");
	read_text(&rd, j, "last_error", ret->last_error, sizeof(ret->last_error));
	ret->downtime_ms = read_int(&rd, j, "downtime_ms", INT64_MIN, INT64_MAX);
	read_rollout(&rd, j, ret);
	read_update(&rd, j, ret);
	if (rd.fault)
		return error_set(ret_error, -EBADMSG, "record: '%s' is missing or not valid",
				 rd.fault);
	return 0;
}

int record_read(int state_dir, const char *name, struct record *ret, struct error *ret_error)
{
	_cleanup_free_ char *file = xasprintf("%s.json", name);
	_cleanup_free_ char *text = NULL;
	struct record fresh;
	size_t len = 0;
	int r = read_file_at(state_dir, file, RECORD_FILE_MAX, &text, &len);

	/* Other errors pass, such as a lack of memory: the record is not broken. */
	if (r < 0 && r != -EFBIG && r != -EISDIR && r != -EINVAL)
		return error_set(ret_error, r, "%s: %s", file, strerror(-r));
	record_init(&fresh);
	if (r < 0)
		(void)error_set(ret_error, r, "record: %s", strerror(-r));
	else
		r = parse(text, len, &fresh, ret_error);
	if (r < 0)
		return ret_error->code = -EBADMSG;
	*ret = fresh;
	return 0;
}

int record_load(int state_dir, const char *name, struct record *ret, struct error *ret_error)
{
	_cleanup_free_ char *file = xasprintf("%s.json", name);
	_cleanup_free_ char *aside = xasprintf("%s.json.broken", name);
	int r = record_read(state_dir, name, ret, ret_error);

	if (r != -EBADMSG)
		return r;
	if (renameat(state_dir, file, state_dir, aside) < 0)
		return error_set(ret_error, -errno, "%s: cannot set it aside: %s", file,
				 strerror(errno));
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

	if (!digest_eq(&d->digest, &r->target.digest) || !streq(d->boot_id, boot_id))
		d->tries = 0;
	d->digest = r->target.digest;
	copy_text(d->boot_id, sizeof(d->boot_id), boot_id);
	d->tries++;
}

bool record_is_hopeless(const struct record *r, const struct digest *d, const char *boot_id)
{
	return digest_eq(&r->damage.digest, d) && r->damage.tries >= RECORD_DAMAGE_MAX &&
	       streq(r->damage.boot_id, boot_id);
}

const struct rejected *record_rejected(const struct record *r, const struct digest *d)
{
	for (size_t i = 0; i < r->n_rejected; i++) {
		if (digest_eq(&r->rejected[i].digest, d) || digest_eq(&r->rejected[i].manifest, d))
			return &r->rejected[i];
	}
	return NULL;
}

static void forget_at(struct record *r, size_t i)
{
	memmove(&r->rejected[i], &r->rejected[i + 1],
		(r->n_rejected - i - 1) * sizeof(r->rejected[0]));
	r->n_rejected--;
}

void record_reject(struct record *r, const struct release *target, const char *reason)
{
	struct rejected *x;

	for (size_t i = r->n_rejected; i-- > 0;) {
		if (digest_eq(&r->rejected[i].digest, &target->digest))
			forget_at(r, i);
	}
	if (r->n_rejected == RECORD_REJECTED_MAX)
		forget_at(r, 0);
	x = &r->rejected[r->n_rejected++];
	*x = (struct rejected){.digest = target->digest, .manifest = target->manifest};
	copy_text(x->reason, sizeof(x->reason), reason);
}
