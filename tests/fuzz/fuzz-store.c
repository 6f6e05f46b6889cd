/* SPDX-License-Identifier: MIT */
/* An engine's words about its store. What a message quotes of an image, of a registry or of the link is never taken for
 * them. An input is a message, and also what the messages below quote. */
#include <stdio.h>

#include "engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Messages of Docker and podman, cut at what they quote. */
static const char of_container[][72] = {
	"unable to find user ",
	"OCI runtime create failed: container_linux.go:367: ",
	"failed to create task for container: ",
	"invalid signal: ",
	"the working directory '",
	"driver failed programming external connectivity on endpoint ",
	"error gathering device information while adding custom device \"",
	"invalid mount config for type \"bind\": bind source path does not exist: ",
};
static const char of_pull[][56] = {
	"toomanyrequests: ",
	"Get \"https://r.io/v2/team/app/manifests/v1\": ",
	"error parsing HTTP 403 response body: ",
	"unauthorized: ",
	"received unexpected HTTP status: ",
	"failed to copy: httpReadSeeker: failed open: ",
};

static void check_quotes(const char *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(of_container); i++) {
		_cleanup_free_ char *said = xasprintf("%s%s", of_container[i], s);

		if (store_is_damaged(said) || store_is_damaged_in_pull(said))
			abort();
	}
	for (size_t i = 0; i < ARRAY_SIZE(of_pull); i++) {
		_cleanup_free_ char *said = xasprintf("%s%s", of_pull[i], s);

		if (store_is_damaged(said) || store_is_damaged_in_pull(said) ||
		    store_is_of_image(said) || store_refuses_image(said))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *s = xstrndup((const char *)data, n);
	_cleanup_json_ json_t *info = NULL;
	static bool ready;
	struct error e;

	if (!ready)
		json_budget((size_t)6 * 1024 * 1024);
	ready = true;
	/* One message has one cause. */
	if (store_is_damaged(s) && store_is_of_image(s))
		abort();
	(void)store_is_doubtful(s, n > 0 ? data[0] : 0);
	check_quotes(s);
	if (json_parse((const char *)data, n, "info", &info, &e) == 0)
		(void)store_directory(info);
	return 0;
}
