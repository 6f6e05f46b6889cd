/* SPDX-License-Identifier: MIT */
/* The engine's answers that come bit by bit: a pull, events, a container's last line. The callbacks are static,
 * so their files are part of this one. */
#include "engine.c"
#include "engine-stream.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* libc's would wait for the disk at each "Pull complete". */
void sync(void)
{
}

/* data in pieces of size bytes, until one is refused. */
static int push(int (*on_data)(void *userdata, const char *data, size_t n), void *userdata,
		const char *data, size_t n, size_t size)
{
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i += size)
		r = on_data(userdata, data + i, n - i < size ? n - i : size);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct engine engine = {.disks = {-1, -1}};
	static const struct pull_options options = {.bytes_max = 1000000};
	_cleanup_free_ struct pull *p = xcalloc(1, sizeof(*p));
	_cleanup_free_ char *text = xmalloc(n + 1);
	struct event_wait w = {.enough = 3};
	static bool ready;
	struct error e = {0};
	size_t size;

	if (!ready)
		json_budget((size_t)6 * 1024 * 1024);
	ready = true;
	if (n < 1)
		return 0;
	memcpy(text, data, n);
	text[n] = '\0';
	size = 1 + data[0];
	*p = (struct pull){.engine = &engine, .error = &e, .options = &options};
	if (push(on_pull_data, p, text, n, size) >= 0)
		(void)!json_stream_end(&p->stream, on_pull_object, p, &e);
	json_stream_free(&p->stream);
	if (push(on_event_data, &w, text, n, size) == 0 && w.n >= w.enough)
		abort();
	if (skip_stream_header(text, n) > text + n)
		abort();
	return 0;
}
