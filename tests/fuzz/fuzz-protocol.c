/* SPDX-License-Identifier: MIT */
/* Lines from a compromised network half, and from whoever reaches its socket. */
#include <errno.h>
#include <sys/socket.h>

#include "message.h"
#include "protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is sent on says the same. */
static void check_again(const struct fetch_reply *reply, const struct fetch_request *request)
{
	_cleanup_json_ json_t *j = message_reply_to_json(reply);
	struct fetch_reply again = {0};
	struct error e;

	if (message_reply_from_json(j, request, &again, &e) < 0 ||
	    !digest_eq(&again.digest, &reply->digest) || again.known != reply->known ||
	    !streq(again.manifest.text, reply->manifest.text) ||
	    again.manifest_known != reply->manifest_known ||
	    !streq(again.chain.text, reply->chain.text) ||
	    again.layer_bytes != reply->layer_bytes || again.zstd != reply->zstd)
		abort();
}

static void check_refused(const struct fetch_reply *reply, const struct error *e)
{
	_cleanup_json_ json_t *j = NULL;
	struct digest d;

	if (reply->retry_after_s > 24 * 60 * 60 || e->code >= 0)
		abort();
	if (!digest_is_set(&reply->digest))
		return;
	if (e->code != -EKEYREJECTED || digest_parse(reply->digest.text, &d) < 0)
		abort();
	j = message_refused_to_json(reply, e);
}

static void check_reply(const json_t *j, const struct fetch_request *request)
{
	struct fetch_reply reply = {0};
	struct digest d;
	struct error e;

	if (message_reply_from_json(j, request, &reply, &e) < 0) {
		check_refused(&reply, &e);
		return;
	}
	if (digest_parse(reply.digest.text, &d) < 0 ||
	    (reply.known && !message_is_known(request, &d)))
		abort();
	if (reply.manifest_known && !message_is_known(request, &reply.manifest))
		abort();
	check_again(&reply, request);
}

static void check_rollout(const json_t *j)
{
	struct rollout_device d = {.version = "0.1.0", .position = 500, .now_s = 1796126400};
	_cleanup_(rollout_reply_free) struct rollout_reply reply;
	struct error e;
	char why[200];
	int r = message_rollout_reply_from_json(j, true, &reply, &e);

	if ((reply.manifest && strlen(reply.manifest) > ROLLOUT_MANIFEST_MAX) ||
	    (reply.policy && strlen(reply.policy) > ROLLOUT_BYTES_MAX))
		abort();
	if (r < 0 || !reply.found)
		return;
	json_decref(message_rollout_reply_to_json(&reply));
	if (reply.rollout.clear)
		return;
	if (reply.rollout.n_points < 1 || reply.rollout.n_points > ROLLOUT_POINTS_MAX)
		abort();
	d.digest = reply.rollout.target;
	if (rollout_admits(&reply.rollout, &d, why, sizeof(why)) &&
	    rollout_share(&reply.rollout, d.now_s) <= d.position)
		abort();
}

static void check_blob(const json_t *j)
{
	struct fetched f = {0};
	struct traffic t = {0};
	struct fetch_blob b;
	struct error e;

	if (message_blob_from_json(j, &b, &e) == 0) {
		if (b.offset > b.size)
			abort();
		json_decref(message_blob_to_json(&b));
	}
	(void)message_is_progress(j, &f);
	if (message_fetched_from_json(j, 1000, &f, &e) == 0 && f.end == FETCH_WHOLE &&
	    f.bytes != 1000)
		abort();
	if (f.bytes > 1000)
		abort();
	message_get_traffic(j, &t);
	if (t.id[sizeof(t.id) - 1] || (t.bytes > 0 && !t.id[0]))
		abort();
}

static void check_delta(const json_t *j)
{
	struct patch_extent *extents = NULL;
	struct fetch_delta d;
	struct digest from, to;
	struct error e;
	uint64_t max;
	size_t n;

	if (message_delta_from_json(j, &d, &e) == 0) {
		if (message_delta_fault(&d) || (d.data && d.size > FETCH_DELTA_DATA_MAX))
			abort();
		json_decref(message_delta_to_json(&d));
		fetch_delta_free(&d);
	}
	(void)!message_delta_request_from_json(j, &from, &to, &e);
	if (message_patch_from_json(j, &extents, &n, &max, &e) < 0)
		return;
	json_decref(message_patch_to_json(extents, n, max));
	free(extents);
}

/* Within the bounds, and what is sent on says the same. */
static void check_signatures(const json_t *j)
{
	_cleanup_json_ json_t *sent = NULL, *again = NULL;
	enum signature_place place;
	struct signatures s, back;
	size_t sum = 0;
	struct digest d;
	struct error e;

	if (message_signatures_request_from_json(j, &d, &place, &e) == 0)
		json_decref(message_signatures_request_to_json("r.io/app", &d, place));
	if (message_signatures_from_json(j, &s, &e) < 0)
		return;
	for (size_t i = 0; i < s.n; i++) {
		sum += s.pairs[i].n_payload;
		if (s.pairs[i].n_payload > SIGNATURE_PAYLOAD_MAX || s.pairs[i].n_payload == 0 ||
		    s.pairs[i].n_bytes > SIGNATURE_BYTES_MAX || s.pairs[i].n_bytes == 0)
			abort();
	}
	if (s.n > SIGNATURE_PAIRS_MAX || sum > SIGNATURE_PAYLOADS_MAX)
		abort();
	sent = message_signatures_to_json(&s);
	if (message_signatures_from_json(sent, &back, &e) < 0)
		abort();
	again = message_signatures_to_json(&back);
	if (!json_equal(sent, again))
		abort();
	signatures_free(&back);
	signatures_free(&s);
}

static void check_line(const json_t *j)
{
	struct fetch_request request = {0};
	struct digest d;
	struct error e;
	unsigned int wait;

	(void)!message_resolved_from_json(j, &d, &wait, &e);
	check_rollout(j);
	check_delta(j);
	check_signatures(j);
	request.documents = json_object();
	check_blob(j);
	check_reply(j, &request);
	if (json_object_size(request.documents) > 3)
		abort();
	json_decref(request.documents);
	if (message_request_from_json(j, &request, &e) < 0)
		return;
	if (request.documents)
		request.documents = json_copy(request.documents);
	check_reply(j, &request);
	json_decref(message_request_to_json(&request));
	json_decref(request.documents);
	free((void *)request.known);
	free((void *)request.layers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool ready;
	struct protocol_reader reader = {0};
	struct error e;
	json_t *j;
	int pair[2];

	if (!ready)
		json_budget((size_t)6 * 1024 * 1024);
	ready = true;
	if (n > 60000)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    write_all(pair[0], data, n) < 0)
		abort();
	close(pair[0]);
	reader.fd = pair[1];
	while (protocol_read(&reader, now_ms() + 1000, &j, &e) == 0) {
		check_line(j);
		json_decref(j);
	}
	protocol_reader_free(&reader);
	close(pair[1]);
	return 0;
}
