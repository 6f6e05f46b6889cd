/* SPDX-License-Identifier: MIT */
#include "patch.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <zstd.h>

#include "test.h"

#define TAKEN (1 << 20)

struct bytes {
	unsigned char data[4 * TAKEN];
	size_t n;
};

/* The contents of the four streams, before they are compressed. */
static struct {
	const char *old;
	size_t old_size, new_size;
	struct bytes streams[4];
} draft;

static struct bytes patch;
static char new[TAKEN];

static void begin(const char *old, size_t old_size, size_t new_size)
{
	draft.old = old;
	draft.old_size = old_size;
	draft.new_size = new_size;
	for (size_t i = 0; i < 4; i++)
		draft.streams[i].n = 0;
}

static void add(struct bytes *b, const void *data, size_t n)
{
	assert_true(n <= sizeof(b->data) - b->n);
	memcpy(b->data + b->n, data, n);
	b->n += n;
}

static void add_number(struct bytes *b, uint64_t value)
{
	do {
		unsigned char byte = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));

		add(b, &byte, 1);
		value >>= 7;
	} while (value);
}

/* The numbers of the stream, up to END. */
#define END		     UINT64_MAX
#define numbers(stream, ...) add_numbers(stream, (const uint64_t[]){__VA_ARGS__, END})

static void add_numbers(size_t stream, const uint64_t *list)
{
	while (*list != END)
		add_number(&draft.streams[stream], *list++);
}

static void add_text(size_t stream, const char *text)
{
	add(&draft.streams[stream], text, strlen(text));
}

/* window_log 0: as zstd chooses for the size, which the frame says; else the frame has that window. */
static size_t frame(const struct bytes *b, int window_log, void *out, size_t size)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_inBuffer input = {b->data, b->n, 0};
	ZSTD_outBuffer output = {out, size, 0};

	(void)ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	if (window_log > 0)
		(void)ZSTD_compressStream2(c, &output, &input, ZSTD_e_continue);
	assert_int_equal(ZSTD_compressStream2(c, &output, &input, ZSTD_e_end), 0);
	(void)ZSTD_freeCCtx(c);
	return output.pos;
}

static void pack(int window_log)
{
	uint64_t header[6] = {htole64(draft.old_size), htole64(draft.new_size)};

	patch.n = PATCH_HEADER;
	memcpy(patch.data, PATCH_MAGIC, 8);
	for (size_t i = 0; i < 4; i++) {
		size_t n = frame(&draft.streams[i], window_log, patch.data + patch.n,
				 sizeof(patch.data) - patch.n);

		header[2 + i] = htole64(n);
		patch.n += n;
	}
	memcpy(patch.data + 8, header, sizeof(header));
}

static void set_field(size_t i, uint64_t value)
{
	value = htole64(value);
	memcpy(patch.data + 8 + i * sizeof(value), &value, sizeof(value));
}

static uint64_t field(size_t i)
{
	uint64_t value;

	memcpy(&value, patch.data + 8 + i * sizeof(value), sizeof(value));
	return le64toh(value);
}

static int put_file(const void *data, size_t n)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_int_equal(write_all(fd, data, n), 0);
	return fd;
}

/* Applies the patch to OLD in these parts, and reads what was written into new. */
static int apply_to(const char *file, size_t n, const struct patch_extent *extents,
		    size_t n_extents, uint64_t max, uint64_t *ret_size, struct error *e)
{
	struct patching p = {.old = put_file(file, n),
			     .extents = extents,
			     .n_extents = n_extents,
			     .patch = put_file(patch.data, patch.n),
			     .out = put_file("", 0),
			     .max = max};
	struct stat st;
	int r;

	*e = (struct error){0};
	r = patch_apply(&p, ret_size, e);
	assert_int_equal(r, e->code);
	assert_int_equal(fstat(p.out, &st), 0);
	assert_true((uint64_t)st.st_size <= *ret_size && (uint64_t)st.st_size <= max);
	assert_true(r < 0 || (uint64_t)st.st_size == *ret_size);
	assert_true((size_t)st.st_size <= sizeof(new));
	assert_int_equal(pread(p.out, new, sizeof(new), 0), st.st_size);
	close(p.old);
	close(p.patch);
	close(p.out);
	return r;
}

static int apply(uint64_t *ret_size, struct error *e)
{
	const struct patch_extent whole = {.size = draft.old_size};

	return apply_to(draft.old, draft.old_size, &whole, 1, TAKEN, ret_size, e);
}

static void assert_makes(const char *text, size_t n)
{
	struct error e;
	uint64_t size;

	if (apply(&size, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(size, n);
	assert_memory_equal(new, text, n);
}

static void assert_refused(int code, const char *why)
{
	struct error e;
	uint64_t size;

	assert_int_equal(apply(&size, &e), code);
	if (!strstr(e.text, why))
		fail_msg("%s: %s", why, e.text);
}

/* "The quick fox" to "The quiet fox!", as in pullet-delta(5). */
static void begin_small(void)
{
	begin("The quick fox", 13, 14);
	numbers(0, 13, 1, 0);
	numbers(1, 7, 2, 4, 0);
	add(&draft.streams[2], "\x02\x09", 2);
	add_text(3, "!");
}

static void test_makes(void **state)
{
	begin("", 0, 0);
	pack(0);
	assert_makes("", 0);

	begin("", 0, 3);
	numbers(0, 0, 3, 0);
	add_text(3, "new");
	pack(0);
	assert_makes("new", 3);

	begin("old", 3, 0);
	pack(0);
	assert_makes("", 0);

	/* Backwards, twice, over the end of a run, a jump alone, and a number that is longer than it must be. */
	begin("abcdef", 6, 11);
	numbers(0, 0, 0, 6);
	numbers(0, 3, 0, 11);
	add(&draft.streams[0], "\x83\x80\x00", 3);
	numbers(0, 1, 3, 2, 4, 1);
	numbers(1, 2, 2, 0, 1, 3, 0);
	add(&draft.streams[2], "\x00\xff\x01", 3);
	add_text(3, "-XYZ!");
	draft.new_size = 3 + 3 + 1 + 2 + 4;
	pack(0);
	assert_makes("def`cc-bcXYZ!", 13);
}

static void test_small(void **state)
{
	begin_small();
	pack(0);
	assert_makes("The quiet fox!", 14);
}

/* Everything is larger than a piece, and out of step with it. */
static void test_large(void **state)
{
	static char old[300007], want[900001];
	size_t at = 0;

	for (size_t i = 0; i < sizeof(old); i++)
		old[i] = (char)(i * i >> 7);
	begin(old, sizeof(old), sizeof(want));
	for (size_t i = 0; at < sizeof(want); i++) {
		size_t copy = MIN(70001 * i % 200003, sizeof(want) - at), from = 7919 * i % 90001;
		size_t literal = MIN(999 * i % 80021, sizeof(want) - at - copy);

		if (i == 0)
			continue;
		numbers(0, copy, literal);
		memcpy(want + at, old + from, copy);
		for (size_t j = 0; j < copy; j += MIN(copy - j, 65537))
			numbers(1, MIN(copy - j, 65537) - 1, 1);
		for (size_t j = 0; j < copy; j += MIN(copy - j, 65537)) {
			want[at + j + MIN(copy - j, 65537) - 1] += 3;
			add(&draft.streams[2], "\x03", 1);
		}
		at += copy;
		memset(want + at, (int)i, literal);
		add(&draft.streams[3], want + at, literal);
		at += literal;
		from += copy;
		copy = 7919 * (i + 1) % 90001; /* where the next one begins */
		add_number(&draft.streams[0], at == sizeof(want) ? 0
					      : copy >= from	 ? (copy - from) * 2
								 : (from - copy) * 2 - 1);
	}
	/* The first operation begins at the third number. */
	{
		struct bytes rest = draft.streams[0];

		draft.streams[0].n = 0;
		numbers(0, 0, 0, 7919 * 2);
		add(&draft.streams[0], rest.data, rest.n);
	}
	pack(0);
	assert_makes(want, sizeof(want));
	pack(21);
	assert_makes(want, sizeof(want));
	pack(22);
	assert_refused(-EBADMSG, "control stream Frame requires too much memory");
}

/* OLD is in parts of a file, some of them twice and some empty. */
static void test_parts(void **state)
{
	static const struct patch_extent parts[] = {{6, 4}, {100, 0}, {0, 3}, {6, 4}, {3, 1}};
	const struct patch_extent overflow[] = {{0, INT64_MAX / 2}, {0, 1}};
	const struct patch_extent outside[] = {{6, 12}};
	struct error e;
	uint64_t size;

	begin(NULL, 12, 12);
	numbers(0, 2, 0, 6, 6, 0, 17, 4, 0, 0);
	numbers(1, 12, 0);
	pack(0);
	assert_int_equal(apply_to("abcdefghij", 10, parts, ARRAY_SIZE(parts), TAKEN, &size, &e), 0);
	assert_memory_equal(new, "ghbcghijijab", 12);
	assert_int_equal(apply_to("abcdefghij", 10, overflow, 2, TAKEN, &size, &e), -EINVAL);
	assert_int_equal(apply_to("abcdefghij", 10, outside, 1, TAKEN, &size, &e), -EIO);
	assert_string_equal(e.text, "cannot read the old data: the file is too short");
	assert_int_equal(apply_to("abcdefghij", 10, parts, 4, TAKEN, &size, &e), -EBADMSG);
	assert_string_equal(e.text, "the patch is for old data of 12 bytes, not 11");
	assert_int_equal(apply_to("abcdefghij", 10, parts, ARRAY_SIZE(parts), 11, &size, &e),
			 -EFBIG);
}

#define REFUSED(why, ...)                      \
	do {                                   \
		begin("abcdef", 6, 8);         \
		__VA_ARGS__;                   \
		pack(0);                       \
		assert_refused(-EBADMSG, why); \
	} while (0)

static void test_refused_operations(void **state)
{
	static const char long_number[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00";

	/* The two that it begins with are good. */
	begin("abcdef", 6, 8);
	numbers(0, 6, 2, 0);
	numbers(1, 6, 0);
	add_text(3, "gh");
	pack(0);
	assert_makes("abcdefgh", 8);

	REFUSED("more than its new size", numbers(0, 9, 0, 0); numbers(1, 9, 0));
	REFUSED("more than its new size", numbers(0, 0, 9, 0); add_text(3, "123456789"));
	REFUSED("more than its new size", numbers(0, 6, 3, 0); numbers(1, 6, 0);
		add_text(3, "123"));
	REFUSED("more than its new size", numbers(0, 1, INT64_MAX, 0); numbers(1, 1, 0));
	REFUSED("copies more than the old data", numbers(0, 7, 0, 0); numbers(1, 7, 0));
	REFUSED("copies more than the old data", numbers(0, 4, 0, 0, 3, 0, 0); numbers(1, 7, 0));
	REFUSED("jumps out of", numbers(0, 4, 0, 6); numbers(1, 4, 0));
	REFUSED("jumps out of", numbers(0, 4, 0, 9); numbers(1, 4, 0));
	REFUSED("jumps out of", numbers(0, 4, 0, INT64_MAX); numbers(1, 4, 0));
	REFUSED("jumps out of", numbers(0, 4, 0, INT64_MAX - 1); numbers(1, 4, 0));
	REFUSED("jumps out of", numbers(0, 6, 2, 2); numbers(1, 6, 0); add_text(3, "gh"));
	REFUSED("in a row make nothing", numbers(0, 0, 0, 2, 0, 0, 1));
	REFUSED("a run has no bytes", numbers(0, 6, 2, 0); numbers(1, 3, 0, 0, 0, 3, 0));
	REFUSED("runs have more bytes", numbers(0, 6, 2, 0); numbers(1, 7, 0); add_text(3, "gh"));
	REFUSED("runs have more bytes", numbers(0, 6, 2, 0); numbers(1, 5, 2);
		add(&draft.streams[2], "\x00\x00", 2); add_text(3, "gh"));
	REFUSED("control stream ends too early", numbers(0, 6, 1, 0); numbers(1, 6, 0);
		add_text(3, "g"));
	REFUSED("control stream ends too early", numbers(0, 6, 2); numbers(1, 6, 0);
		add_text(3, "gh"));
	REFUSED("control stream ends too early", add_text(0, "\x86"));
	REFUSED("runs stream ends too early", numbers(0, 6, 2, 0); numbers(1, 5, 0);
		add_text(3, "gh"));
	REFUSED("values stream ends too early", numbers(0, 6, 2, 0); numbers(1, 4, 2);
		add_text(2, "x"); add_text(3, "gh"));
	REFUSED("literal stream ends too early", numbers(0, 6, 2, 0); numbers(1, 6, 0);
		add_text(3, "g"));
	REFUSED("control stream has more", numbers(0, 6, 2, 0, 0); numbers(1, 6, 0);
		add_text(3, "gh"));
	REFUSED("control stream has more", numbers(0, 6, 2, 0, 0, 0, 0); numbers(1, 6, 0);
		add_text(3, "gh"));
	REFUSED("runs stream has more", numbers(0, 6, 2, 0); numbers(1, 6, 0, 1, 0);
		add_text(3, "gh"));
	REFUSED("values stream has more", numbers(0, 6, 2, 0); numbers(1, 6, 0); add_text(2, "x");
		add_text(3, "gh"));
	REFUSED("literal stream has more", numbers(0, 6, 2, 0); numbers(1, 6, 0);
		add_text(3, "ghi"));
	REFUSED("number of more than 63 bits", add(&draft.streams[0], long_number, 10));
	REFUSED("number of more than 63 bits", numbers(0, 6, 2, 0);
		add(&draft.streams[1], long_number, 10));
}

static void test_refused_header(void **state)
{
	begin_small();
	pack(0);
	for (size_t i = 0; i < 8; i++) {
		patch.data[i] ^= 1;
		assert_refused(-EBADMSG, "header");
		patch.data[i] ^= 1;
	}
	set_field(0, 12);
	assert_refused(-EBADMSG, "the patch is for old data of 12 bytes, not 13");
	set_field(0, 13);
	set_field(1, 13);
	assert_refused(-EBADMSG, "more than its new size");
	set_field(1, 15);
	assert_refused(-EBADMSG, "control stream ends too early");
	set_field(1, TAKEN + 1);
	assert_refused(-EFBIG, "more than the 1048576 that are taken");
	set_field(1, UINT64_MAX);
	assert_refused(-EFBIG, "more than the 1048576 that are taken");
	set_field(1, 14);
	assert_makes("The quiet fox!", 14);
}

/* Lengths are the rest of the patch, and each is that of one frame. */
static void test_refused_lengths(void **state)
{
	static const char skippable[] = "\x50\x2a\x4d\x18\x00\x00\x00\x00";
	size_t n;

	begin_small();
	pack(0);
	n = patch.n;
	for (patch.n = 0; patch.n < n; patch.n++)
		assert_refused(-EBADMSG, "the patch is malformed");
	patch.n = n + 1;
	assert_refused(-EBADMSG, "not the rest of it");
	patch.n = n;
	for (size_t i = 2; i < 6; i++) {
		uint64_t right = field(i);

		set_field(i, right + 1);
		assert_refused(-EBADMSG, "not the rest of it");
		set_field(i, UINT64_MAX - PATCH_HEADER + right);
		assert_refused(-EBADMSG, "overflow");
		set_field(i, INT64_MAX - PATCH_HEADER);
		assert_refused(-EBADMSG, "overflow");
		if (i < 5) {
			uint64_t next = field(i + 1);

			set_field(i, right - 1);
			set_field(i + 1, next + 1);
			assert_refused(-EBADMSG, "");
			set_field(i, right + 1);
			set_field(i + 1, next - 1);
			assert_refused(-EBADMSG, "");
			set_field(i, 0);
			set_field(i + 1, right + next);
			assert_refused(-EBADMSG, "is no zstd frame");
			set_field(i + 1, next);
		}
		set_field(i, right);
	}
	/* A second frame behind the last. */
	add(&patch, skippable, 8);
	set_field(5, field(5) + 8);
	assert_refused(-EBADMSG, "literal stream goes on behind its frame");
	/* One in its place. */
	patch.n = n - field(5) + 8;
	add(&patch, skippable, 8);
	patch.n = n + 8 - field(5);
	memcpy(patch.data + patch.n, skippable, 8);
	patch.n += 8;
	set_field(5, 8);
	assert_refused(-EBADMSG, "is no zstd frame");
}

/* The bytes behind these words in pullet-delta(5) become the patch. */
static void read_manual(const char *words)
{
	_cleanup_free_ char *page = NULL;
	const char *s;

	assert_int_equal(read_file_at(AT_FDCWD, TEST_DATA "/../../packaging/man/pullet-delta.5",
				      1 << 20, &page, NULL),
			 0);
	s = strstr(page, words);
	assert_non_null(s);
	s = strstr(s, ".EX\n");
	assert_non_null(s);
	s += strlen(".EX\n");
	for (patch.n = 0; !after_prefix(s, ".EE"); s += 2) {
		unsigned char byte;

		s += strspn(s, " \n");
		if (after_prefix(s, ".EE"))
			break;
		assert_int_equal(sscanf(s, "%2hhx", &byte), 1);
		add(&patch, &byte, 1);
	}
}

static void test_manual(void **state)
{
	begin("", 0, 0);
	read_manual("from nothing to nothing has 92 bytes");
	assert_int_equal(patch.n, 92);
	assert_makes("", 0);
	begin_small();
	read_manual("The quick fox");
	assert_int_equal(patch.n, PATCH_HEADER + 12 + 13 + 11 + 10);
	assert_makes("The quiet fox!", 14);
}

static uint32_t random_state = 1;

static uint32_t draw(uint32_t below)
{
	random_state = random_state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(random_state >> 4) * below >> 28);
}

static void mutate(void)
{
	size_t at = draw((uint32_t)patch.n), n;

	switch (draw(6)) {
	case 0:
		patch.data[at] ^= (unsigned char)(1u << draw(8));
		break;
	case 1:
		patch.data[at] = (unsigned char)draw(256);
		break;
	case 2: /* of the header */
		patch.data[draw(PATCH_HEADER)] = (unsigned char)draw(256);
		break;
	case 3:
		patch.n = at;
		break;
	case 4: /* a part of it comes twice */
		n = MIN(patch.n - at, (size_t)draw(64));
		memmove(patch.data + at + n, patch.data + at, patch.n - at);
		patch.n += n;
		break;
	default:
		n = MIN(patch.n - at, (size_t)draw(64));
		memset(patch.data + at, (int)draw(256), n);
	}
}

/* Half are mutated before they are compressed, so that they come as far as the operations. */
static void mutate_streams(void)
{
	for (uint32_t i = draw(3) + 1; i > 0; i--) {
		struct bytes *s = &draft.streams[draw(4)];

		if (s->n > 0)
			s->data[draw((uint32_t)s->n)] ^= (unsigned char)(1u << draw(8));
	}
}

static void begin_mutable(const char *old)
{
	begin(old, 1000, 1100);
	numbers(0, 300, 20, 401, 100, 0, 1000, 0, 0, 2, 300, 380, 0);
	for (unsigned int i = 0; i < 7; i++)
		numbers(1, 99, 1);
	for (unsigned int i = 0; i < 400; i++)
		add_number(&draft.streams[3], draw(120));
	add(&draft.streams[2], "\x01\x02\x03\x04\x05\x06\x07", 7);
}

/* Whatever a patch is, apply_to() holds it to the sizes that it says; a valid one just makes other bytes. */
static void test_mutations(void **state)
{
	static char old[1000];
	unsigned int applied = 0, refused = 0;
	struct error e;
	uint64_t size;

	for (size_t i = 0; i < sizeof(old); i++)
		old[i] = (char)draw(256);
	begin_mutable(old);
	pack(0);
	assert_int_equal(apply(&size, &e), 0);
	for (unsigned int i = 0; i < 10000; i++) {
		bool early = i % 2;
		int r;

		begin_mutable(old);
		if (early)
			mutate_streams();
		pack(0);
		for (uint32_t n = early ? 0 : draw(3) + 1; n > 0 && patch.n > 0; n--)
			mutate();
		r = apply(&size, &e);
		if (r < 0 && r != -EBADMSG && r != -EFBIG)
			fail_msg("%d: %s", r, e.text);
		applied += r == 0;
		refused += r < 0;
	}
	assert_true(applied > 500 && refused > 5000);
}

struct reader {
	int fd;
	char text[TAKEN];
	size_t n;
};

static void *read_pipe(void *userdata)
{
	struct reader *r = userdata;
	ssize_t n;

	while ((n = read(r->fd, r->text + r->n, sizeof(r->text) - r->n)) > 0)
		r->n += (size_t)n;
	return NULL;
}

static const size_t large = 500000;

static struct patching large_patching(int flags, int pipes[2])
{
	static const struct patch_extent none;
	static char text[500000];

	begin("", 0, large);
	numbers(0, 0, large, 0);
	for (size_t i = 0; i < large; i++)
		text[i] = (char)(i >> 3);
	add(&draft.streams[3], text, large);
	pack(0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(fcntl(pipes[1], F_SETFL, flags), 0);
	return (struct patching){.old = -1,
				 .extents = &none,
				 .patch = put_file(patch.data, patch.n),
				 .out = pipes[1],
				 .max = TAKEN};
}

static void test_pipe(void **state)
{
	static struct reader reader;

	for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
		int pipes[2];
		struct patching p = large_patching(flags, pipes);
		struct error e;
		pthread_t thread;
		uint64_t size;

		reader.fd = pipes[0];
		reader.n = 0;
		assert_int_equal(pthread_create(&thread, NULL, read_pipe, &reader), 0);
		assert_int_equal(patch_apply(&p, &size, &e), 0);
		close(pipes[1]);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(size, large);
		assert_int_equal(reader.n, large);
		assert_memory_equal(reader.text, draft.streams[3].data, large);
		close(pipes[0]);
		close(p.patch);
	}
}

static volatile sig_atomic_t cancel;

static void on_alarm(int signal)
{
	cancel = 1;
}

static void test_ends(void **state)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	int pipes[2];
	struct patching p = large_patching(O_NONBLOCK, pipes);
	struct error e;
	uint64_t size;

	(void)sigaction(SIGALRM, &action, NULL);
	p.cancel = &cancel;
	cancel = 1;
	assert_int_equal(patch_apply(&p, &size, &e), -ECANCELED);
	cancel = 0;
	(void)ualarm(1000, 0);
	assert_int_equal(patch_apply(&p, &size, &e), -ECANCELED);
	cancel = 0;
	(void)signal(SIGPIPE, SIG_IGN);
	close(pipes[0]);
	assert_int_equal(patch_apply(&p, &size, &e), -EPIPE);
	close(pipes[1]);
	close(p.patch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_makes),
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_refused_operations),
		cmocka_unit_test(test_refused_header),
		cmocka_unit_test(test_refused_lengths),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
