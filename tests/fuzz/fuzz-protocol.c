/* SPDX-License-Identifier: MIT */
/* Lines from a compromised network half, and from whoever reaches its socket. */
#include <sys/socket.h>

#include "message.h"
#include "protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_reply(const json_t *j, const struct fetch_request *request)
{
	struct fetch_reply reply = {0};
	struct digest d;
	struct error e;

	if (message_reply_from_json(j, request, &reply, &e) < 0) {
		if (reply.retry_after_s > 24 * 60 * 60)
			abort();
		return;
	}
	if (digest_parse(reply.digest.text, &d) < 0 ||
	    (reply.known && !message_is_known(request, &d)))
		abort();
	json_decref(message_reply_to_json(&reply));
}

static void check_rollout(const json_t *j)
{
	struct rollout_reply reply;
	struct error e;

	if (message_rollout_reply_from_json(j, &reply, &e) < 0 || !reply.found)
		return;
	if (reply.rollout.n_points < 1 || reply.rollout.n_points > ROLLOUT_POINTS_MAX)
		abort();
	json_decref(message_rollout_reply_to_json(&reply));
}

static void check_line(const json_t *j)
{
	struct fetch_request request = {0};
	struct digest d;
	struct error e;
	unsigned int wait;

	(void)!message_resolved_from_json(j, &d, &wait, &e);
	check_rollout(j);
	check_reply(j, &request);
	if (message_request_from_json(j, &request, &e) < 0)
		return;
	check_reply(j, &request);
	json_decref(message_request_to_json(&request));
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
