/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "message.h"
#include "repository.h"
#include "session.h"

#define HEX_MAX	   32 /* digits of a ChainID in a tag */
#define PAGES_MAX  1000
#define DELTAS_MAX 100 /* of one image */

struct pushing {
	struct session *session;
	struct told told;
	uint64_t bytes;
};

static int tell_progress(void *userdata)
{
	struct pushing *p = userdata;
	session_tell_at_times(p->session, &p->told, p->bytes);
	return 0;
}

static void on_progress(void *userdata, uint64_t bytes)
{
	struct pushing *p = userdata;

	p->bytes = bytes;
}

/* The tag of the delta, unless the question is not valid. */
static int read_question(const struct session *s, const json_t *question, struct push *ret,
			 char ret_tag[FETCH_DELTA_TAG_SIZE], struct error *ret_error)
{
	const json_t *layer = json_array_get(
		json_get_path(json_object_get(question, "manifest"), "layers", NULL), 0);
	json_int_t bytes = json_integer_value(json_object_get(layer, "size"));
	struct digest from, to;

	if (digest_parse(json_get_string(question, "from"), &from) < 0 ||
	    digest_parse(json_get_string(question, "to"), &to) < 0 ||
	    digest_parse(json_get_string(layer, "digest"), &ret->digest) < 0 || bytes < 0 ||
	    s->caller->n_fds != 1)
		return error_set(ret_error, -EBADMSG,
				 "the request to push a delta lacks a ChainID, its manifest or its "
				 "file");
	ret->size = (uint64_t)bytes;
	ret->fd = s->caller->fds[0];
	message_delta_tag(&from, &to, ret_tag);
	return 0;
}

int publish_delta(struct session *s, const struct ref *ref, const json_t *question, json_t **ret,
		  struct error *ret_error)
{
	struct pushing pushing = {.session = s, .told.at_ms = now_ms()};
	struct push push = {.on_progress = on_progress, .userdata = &pushing};
	struct digest digest;
	char tag[FETCH_DELTA_TAG_SIZE];
	int r = read_question(s, question, &push, tag, ret_error);

	if (r < 0)
		return r;
	s->tick = (struct http_tick){tell_progress, &pushing};
	r = push_blob(s->registry, ref, &push, ret_error);
	if (r == 0)
		r = push_manifest(s->registry, ref, tag, json_object_get(question, "manifest"),
				  &digest, ret_error);
	s->tick = (struct http_tick){0};
	if (r == 0)
		*ret = json_need(json_pack("{s:s}", "digest", digest.text));
	return r < 0 ? error_prefix(ret_error, "%s/%s:%s", ref->host, ref->path, tag) : 0;
}

int publish_read_manifest(struct registry *r, const struct ref *ref, json_t **ret,
			  struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	struct digest digest;
	int q = repository_text(r, ref, &response, &digest, ret_error);

	if (q < 0)
		return q;
	*ret = response.body_len <= MESSAGE_DOCUMENTS_MAX
		       ? json_pack("{s:s, s:s%}", "digest", digest.text, "document", response.body,
				   response.body_len)
		       : NULL;
	return *ret ? 0
		    : error_set(ret_error, -EBADMSG, "%s: %zu bytes that are no manifest",
				ref->text, response.body_len);
}

/* Adds the tags of a page that end so. False: there is no room for more. */
static bool take_tags(const json_t *page, const char *end, json_t *tags)
{
	const json_t *tag;
	size_t i;

	json_array_foreach (json_object_get(page, "tags"), i, tag) {
		const char *text = json_string_value(tag) ?: "";

		if (!after_prefix(text, "delta-") || !has_suffix(text, end))
			continue;
		if (json_array_size(tags) == DELTAS_MAX)
			return false;
		json_append(tags, json_string_lossy(text));
	}
	return true;
}

/* The URL of the next page (distribution-spec, "Listing tags": <URL>; rel="next"). False: there is none here. */
static bool find_next_page(const struct registry *r, const struct http_response *response,
			   struct url *ret)
{
	_cleanup_free_ char *link = http_header(response, "Link"), *target = NULL;
	_cleanup_(url_free) struct url from = *ret;

	*ret = (struct url){0};
	if (!link || link[0] != '<' || !strstr(link, "next"))
		return false;
	target = xstrndup(link + 1, strcspn(link + 1, ">"));
	return url_resolve(&r->origin, target, ret) == 0 && url_same_origin(ret, &r->origin);
}

int publish_find_deltas(struct registry *r, const struct ref *ref, const char *to, json_t **ret,
			struct error *ret_error)
{
	_cleanup_json_ json_t *tags = json_need(json_array());
	_cleanup_(url_free) struct url next = {0};
	_cleanup_free_ char *end = NULL;
	struct digest d;
	int q;

	if (digest_parse(to, &d) < 0)
		return error_set(ret_error, -EBADMSG, "the request lacks \"to\"");
	end = xasprintf("-%.*s", HEX_MAX, d.text + strlen("sha256:"));
	for (int page = 0; page < PAGES_MAX; page++) {
		_cleanup_http_response_ struct http_response response = {0};
		_cleanup_json_ json_t *list = NULL;
		struct call call = {.repository = ref->path,
				    .method = "GET",
				    .kind = "tags",
				    .name = "list?n=1000",
				    .at = page > 0 ? &next : NULL};

		q = registry_request(r, &call, 200, &response, ret_error);
		if (q == 0)
			q = json_parse(response.body, response.body_len, "the list of tags", &list,
				       ret_error);
		if (q < 0)
			return error_prefix(ret_error, "%s/%s: list of tags", ref->host, ref->path);
		if (!take_tags(list, end, tags) || !find_next_page(r, &response, &next))
			break;
	}
	*ret = json_need(json_pack("{s:O}", "tags", tags));
	return 0;
}
