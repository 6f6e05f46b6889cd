/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "meter.h"
#include "test.h"

/* Two ends of a connection over the loopback. */
static void connect_pair(int ret[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(at);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, n), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
	ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(ret[0], (struct sockaddr *)&at, n), 0);
	ret[1] = accept(listener, NULL, NULL);
	assert_true(ret[1] >= 0);
	close(listener);
}

static void move(int from, int to, size_t n)
{
	char data[20000] = "";

	assert_int_equal(send(from, data, n, 0), n);
	assert_int_equal(recv(to, data, n, MSG_WAITALL), n);
}

static void test_meter(void **state)
{
	struct meter m = {0};
	uint64_t before;
	int pair[2];

	connect_pair(pair);
	assert_int_equal(meter_read(&m), 0);
	meter_open(&m, pair[0]);
	before = meter_read(&m);
	/* SYN, SYN-ACK, ACK. */
	assert_in_range(before, 2 * 40, 3 * 60);
	move(pair[0], pair[1], 1000);
	move(pair[1], pair[0], 20000);
	assert_in_range(meter_read(&m), before + 21000, before + 22000);
	before = meter_read(&m);
	meter_close(&m, pair[0]);
	close(pair[0]);
	close(pair[1]);
	/* FIN, both ways, and their ACKs. */
	assert_in_range(meter_read(&m), before + 4 * 40, before + 4 * 60);
	assert_int_equal(m.n, 0);
}

/* A socket that is closed unseen keeps its bytes, and the next one of its number begins at 0. */
static void test_number_used_again(void **state)
{
	struct meter m = {0};
	uint64_t before;
	int pair[2], again[2];

	connect_pair(pair);
	meter_open(&m, pair[0]);
	move(pair[0], pair[1], 5000);
	before = meter_read(&m);
	close(pair[0]);
	assert_true(meter_read(&m) == before);
	connect_pair(again);
	assert_int_equal(again[0] == pair[0] ? 0 : dup2(again[0], pair[0]),
			 again[0] == pair[0] ? 0 : pair[0]);
	meter_open(&m, pair[0]);
	assert_int_equal(m.n, 1);
	assert_in_range(meter_read(&m), before + 2 * 40, before + 3 * 60);
	close(pair[1]);
	close(again[0]);
	close(again[1]);
}

static void test_no_tcp_and_too_many(void **state)
{
	struct meter m = {0};

	for (int fd = 0; fd < 100; fd++)
		meter_open(&m, fd + 1000);
	assert_int_equal(m.n, METER_SOCKETS_MAX);
	assert_int_equal(meter_read(&m), 0);
	meter_close(&m, 1000);
	assert_int_equal(m.n, METER_SOCKETS_MAX - 1);
	meter_close(&m, 4711);
	assert_int_equal(m.n, METER_SOCKETS_MAX - 1);
}

static void test_pace(void **state)
{
	struct pace p = {0};
	uint64_t wait;

	assert_int_equal(pace_wait_ms(&p, UINT64_MAX), 0);
	pace_begin(&p, 8000, 500);
	assert_int_equal(pace_wait_ms(&p, 500), 0);
	wait = pace_wait_ms(&p, 500 + 80000);
	assert_in_range(wait, 9000, 10000);
	/* Not once more for the same bytes. */
	assert_in_range(pace_wait_ms(&p, 500 + 80000), 8000, 10000);
	assert_in_range(pace_wait_ms(&p, 500 + 160000), 18000, 20000);
	/* An idle hour is worth a fifth of a second. */
	pace_begin(&p, 8000, 0);
	p.due_ms = now_ms() > 3600000 ? now_ms() - 3600000 : 0;
	assert_in_range(pace_wait_ms(&p, 80000), 9000, 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meter),
		cmocka_unit_test(test_number_used_again),
		cmocka_unit_test(test_no_tcp_and_too_many),
		cmocka_unit_test(test_pace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
