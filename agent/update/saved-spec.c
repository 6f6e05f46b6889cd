/* SPDX-License-Identifier: MIT */
#include "saved-spec.h"

#include <errno.h>
#include <fcntl.h>

#include "json.h"

#define SAVED_SPEC_MAX ((size_t)1024 * 1024)

static char *file_of(const char *name)
{
	return xasprintf("%s.json.kept", name);
}

int saved_spec_save(int state_dir, const char *name, const struct saved_spec *k,
		    struct error *ret_error)
{
	_cleanup_free_ char *file = file_of(name);
	_cleanup_json_ json_t *j = json_need(
		json_pack("{s:s, s:O, s:O, s:s}", "digest", k->digest.text, "body", k->plan.body,
			  "connect", k->plan.connect, "policy", k->plan.policy));
	_cleanup_free_ char *text = json_text(j, JSON_INDENT(1));
	int r = write_file_atomic_at(state_dir, file, 0600, text, strlen(text));

	return r < 0 ? error_set(ret_error, r, "%s: cannot write: %s", file, strerror(-r)) : 0;
}

int saved_spec_load(int state_dir, const char *name, struct saved_spec *ret,
		    struct error *ret_error)
{
	_cleanup_free_ char *file = file_of(name), *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	const char *digest, *policy;
	struct saved_spec k = {0};
	size_t len = 0;
	int r = read_file_at(state_dir, file, SAVED_SPEC_MAX, &text, &len);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", file, strerror(-r));
	r = json_parse(text, len, file, &j, ret_error);
	if (r < 0)
		return r;
	r = json_unpack(j, "{s:s, s:o, s:o, s:s}", "digest", &digest, "body", &k.plan.body,
			"connect", &k.plan.connect, "policy", &policy);
	if (r < 0 || digest_parse(digest, &k.digest) < 0 || !json_is_object(k.plan.body) ||
	    !json_is_array(k.plan.connect))
		return error_set(ret_error, -EBADMSG,
				 "%s: missing or invalid digest, body or connect", file);
	json_incref(k.plan.body);
	json_incref(k.plan.connect);
	k.plan.policy = xstrdup(policy);
	*ret = k;
	return 0;
}

bool saved_spec_exists(int state_dir, const char *name)
{
	_cleanup_free_ char *file = file_of(name);

	return faccessat(state_dir, file, F_OK, 0) == 0 || errno != ENOENT;
}

void saved_spec_forget(int state_dir, const char *name)
{
	_cleanup_free_ char *file = file_of(name);

	(void)unlinkat(state_dir, file, 0);
}

void saved_spec_free(struct saved_spec *k)
{
	recreate_plan_free(&k->plan);
	*k = (struct saved_spec){0};
}
