/* SPDX-License-Identifier: MIT */
#include <locale.h>
#include <time.h>

#include "status.h"
#include "test.h"

#define A   "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B   "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NOW ((uint64_t)1764072000 * 1000000) /* 2025-11-25 12:00:00 UTC */

static const struct terminal plain = {.width = 80};

static struct status *one(struct status_list *l, const char *name)
{
	struct status *s = status_list_get(l, name);

	replace_string(&s->image, "reg/app:stable");
	replace_string(&s->current, A);
	s->next_check_us = NOW + (uint64_t)90 * 1000000;
	return s;
}

static char *table_of(const struct status_list *l, const struct terminal *t, const json_t *gone)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	status_print_table(f, l, NULL, gone, t, NOW);
	assert_int_equal(fclose(f), 0);
	return text;
}

static char *details_of(const struct status *s)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	status_print_details(f, s, &plain);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void test_object(void **state)
{
	struct status_list l = {0};
	struct status *s = one(&l, "app");
	_cleanup_json_ json_t *j = NULL, *none = NULL;
	_cleanup_free_ char *text = NULL, *rest = NULL;

	j = status_list_to_json(&l, NULL);
	text = json_text(json_array_get(j, 0), JSON_COMPACT);
	assert_string_equal(text, "{\"container\":\"app\",\"image\":\"reg/app:stable\","
				  "\"phase\":\"idle\",\"current\":\"" A
				  "\",\"target\":null,\"rejected\":[],"
				  "\"last_error\":null,\"next_check\":\"2025-11-25T12:01:30Z\","
				  "\"state\":\"up to date\",\"held\":false,\"held_until\":null,"
				  "\"held_by\":null,\"held_reason\":null,"
				  "\"previous\":null,\"result\":null,\"reason\":null,\"version\":"
				  "null,\"target_version\":null,\"download\":null,\"signed_by\":[],"
				  "\"signature_expires\":null}");
	status_reject(s, B, "it exited with status 3");
	s->next_check_us = 0;
	json_decref(j);
	j = status_list_to_json(&l, "app");
	free(text);
	text = json_text(json_object_get(json_array_get(j, 0), "rejected"), JSON_COMPACT);
	assert_string_equal(text,
			    "[{\"digest\":\"" B "\",\"reason\":\"it exited with status 3\"}]");
	assert_true(json_is_null(json_object_get(json_array_get(j, 0), "next_check")));
	none = status_list_to_json(&l, "other");
	assert_int_equal(json_array_size(none), 0);
	status_list_clear(&l);
}

/* 2026 is over; the clock of the machine is after it. */
static void test_by_whom_it_is_signed(void **state)
{
	_cleanup_free_ struct record *r = xmalloc(sizeof(*r));
	const struct container_config c = {.name = (char[]){"app"},
					   .image = (char[]){"reg/app:stable"}};
	struct status_list l = {0};
	struct status *s = one(&l, "app");
	_cleanup_free_ char *never = NULL, *past = NULL, *details = NULL, *text = NULL;
	_cleanup_json_ json_t *list = NULL;
	const json_t *j;

	record_init(r);
	copy_text(r->current.digest.text, sizeof(r->current.digest.text), A);
	r->current.signature.n_keys = 2;
	copy_text(r->current.signature.keys[0].name, 64, "prod.pub");
	copy_text(r->current.signature.keys[1].name, 64, "cto.pub");
	status_take_record(s, &c, r);
	never = table_of(&l, &plain, NULL);
	assert_non_null(strstr(never, "\n  signed by prod.pub and cto.pub\n"));
	r->current.signature.expires_s = 1000000000;
	status_take_record(s, &c, r);
	past = table_of(&l, &plain, NULL);
	assert_non_null(
		strstr(past, "\n  signed by prod.pub and cto.pub, expired 2001-09-09T01:46:40Z\n"));
	r->current.signature.expires_s = 32503680000;
	r->current.signature.n_keys = 1;
	status_take_record(s, &c, r);
	details = details_of(s);
	assert_non_null(strstr(details,
			       "Current: " A "\n"
			       "         signed by prod.pub until 3000-01-01T00:00:00Z\n"));
	list = status_list_to_json(&l, NULL);
	j = json_array_get(list, 0);
	text = json_text(json_object_get(j, "signed_by"), JSON_COMPACT);
	assert_string_equal(text, "[\"prod.pub\"]");
	assert_string_equal(json_get_string(j, "signature_expires"), "3000-01-01T00:00:00Z");
	status_list_clear(&l);
}

static void expect_state(struct status_list *l, const char *state, const char *tint)
{
	struct terminal t = plain;
	_cleanup_free_ char *text = NULL, *row = NULL;

	t.colours = true;
	text = table_of(l, &t, NULL);
	row = xasprintf("app        %s%s", tint, state);
	assert_non_null(strstr(text, row));
}

static void test_states(void **state)
{
	struct status_list l = {0};
	struct status *s = one(&l, "app");

	expect_state(&l, "up to date  ", "");
	replace_string(&s->target, B);
	expect_state(&l, "update waits", "\033[33m");
	replace_string(&s->operation, "check");
	expect_state(&l, "check ", "");
	replace_string(&s->phase, "prepare");
	s->bytes = 45;
	s->total = 100;
	expect_state(&l, "prepare 45%", "");
	replace_string(&s->phase, "idle");
	replace_string(&s->operation, "");
	s->held = true;
	expect_state(&l, "held ", "\033[33m");
	replace_string(&s->last_error, "no such manifest");
	expect_state(&l, "held, error", "\033[31m");
	status_reject(s, B, "no such manifest");
	expect_state(&l, "held, error", "\033[31m");
	s->rolled_back = true;
	expect_state(&l, "held, rolled back", "\033[31m");
	s->held = false;
	expect_state(&l, "rolled back", "\033[31m");
	s->rolled_back = false;
	expect_state(&l, "error", "\033[31m");
	replace_string(&s->last_error, "");
	/* Nothing is known of a candidate. */
	replace_string(&s->target, "");
	replace_string(&s->last_result,
		       "{\"result\":\"deferred\",\"to\":null,\"reason\":\"the clock is not set\"}");
	expect_state(&l, "check waits", "\033[33m");
	replace_string(&s->last_result, "");
	replace_string(&s->target, B);
	/* Until the window opens. */
	replace_string(&s->phase, "prepare");
	expect_state(&l, "update waits", "\033[33m");
	replace_string(&s->phase, "trial");
	expect_state(&l, "trial", "");
	status_list_clear(&l);
	(void)status_list_get(&l, "app");
	expect_state(&l, "not seen", "");
	status_list_clear(&l);
}

static void test_downloads(void **state)
{
	struct status_list l = {0};
	struct status *s = one(&l, "app");
	static const uint64_t traffic[4] = {12400000, 20000000, 103000000, 0};
	_cleanup_free_ char *table = NULL, *details = NULL, *waits = NULL, *budget = NULL;
	_cleanup_json_ json_t *j = NULL;
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&budget, &n);

	replace_string(&s->target, B);
	replace_string(&s->phase, "prepare");
	replace_string(&s->operation, "update");
	s->download = (struct download_state){.bytes = 12400000, .of = 30100000, .bytes_s = 7900};
	expect_state(&l, "downloading 41 %", "");
	table = table_of(&l, &plain, NULL);
	assert_non_null(
		strstr(table, "\n  downloading 41 %, 12.4 of 30.1 MB, 7.9 kB/s, 37 min to go\n"));
	details = details_of(s);
	assert_non_null(strstr(details, "  Phase: prepare (update), downloading 41 %, 12.4 of"));
	/* Until its window opens; its reason says when. */
	replace_string(&s->operation, "");
	s->download.waits = WAITS_WINDOW;
	replace_string(&s->last_result,
		       "{\"container\":\"app\",\"result\":\"deferred\",\"to\":\"" B
		       "\",\"reason\":\"downloading 41 %, waits for its window at 02:00\"}");
	expect_state(&l, "downloading 41 %", "\033[33m");
	waits = table_of(&l, &plain, NULL);
	assert_non_null(strstr(waits, "\n  downloading 41 %, waits for its window at 02:00\n"));
	j = status_list_to_json(&l, NULL);
	text = json_text(json_object_get(json_array_get(j, 0), "download"), JSON_COMPACT);
	assert_string_equal(text, "{\"bytes\":12400000,\"of\":30100000,\"bytes_s\":7900,"
				  "\"eta_s\":2240,\"waits\":\"window\",\"delta\":false,"
				  "\"plain\":null}");
	assert_string_equal(json_get_string(json_array_get(j, 0), "state"), "downloading");
	/* What is wrong goes first. */
	s->held = true;
	expect_state(&l, "held", "\033[33m");
	replace_string(&s->last_error, "no such manifest");
	expect_state(&l, "held, error", "\033[31m");
	status_print_budget(f, traffic);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(budget, "budget of the day: 12.4 MB of 20.0 MB used\n");
	status_list_clear(&l);
}

static void test_table(void **state)
{
	struct status_list l = {0};
	_cleanup_free_ char *text = NULL;
	struct status *s = one(&l, "web");

	status_reject(s, A, "older");
	status_reject(s, B, "newer");
	replace_string(&s->last_error, "no such manifest");
	/* A day and more away: the day. By name, whatever came first. */
	one(&l, "app")->next_check_us = NOW + (uint64_t)100000 * 1000000;
	text = table_of(&l, &plain, NULL);
	assert_string_equal(text, "CONTAINER  STATE       CURRENT       TARGET  NEXT CHECK\n"
				  "app        up to date  aaaaaaaaaaaa  -       2025-11-26\n"
				  "web        error       aaaaaaaaaaaa  -       12:01:30\n"
				  "  no such manifest\n"
				  "  rejected bbbbbbbbbbbb: newer\n"
				  "  rejected aaaaaaaaaaaa: older\n");
	status_list_clear(&l);
}

static void test_versions(void **state)
{
	static const struct terminal wide = {.width = 120};
	_cleanup_free_ char *narrow_text = NULL, *wide_text = NULL;
	_cleanup_json_ json_t *gone = json_pack("[s,s]", "api", "b\033ad");
	struct status_list l = {0};
	struct status *s = one(&l, "web");

	replace_string(&s->version, "1.4.2");
	replace_string(&s->target, B);
	replace_string(&s->target_version, "2024.11.0-rc.1");
	narrow_text = table_of(&l, &plain, NULL);
	assert_string_equal(
		narrow_text,
		"CONTAINER  STATE         CURRENT        TARGET                NEXT CHECK\n"
		"web        update waits  1.4.2 aaaaaaa  2024.11.0-rc bbbbbbb  12:01:30\n");
	wide_text = table_of(&l, &wide, gone);
	assert_non_null(strstr(wide_text, "  1.4.2 aaaaaaaaaaaa  2024.11.0-rc.1 bbbbbbbbbbbb  "));
	assert_non_null(strstr(wide_text, "\nrecords without a section: api, b?ad; to remove them: "
					  "pullet forget --gone\n"));
	status_list_clear(&l);
}

static void test_steps(void **state)
{
	struct status_list l = {0};
	struct status *s = one(&l, "web");
	_cleanup_free_ char *trial = NULL, *table = NULL, *healthy = NULL, *plain_step = NULL;
	uint64_t elapsed;

	replace_string(&s->operation, "update");
	replace_string(&s->phase, "trial");
	replace_string(&s->step, "on trial");
	s->step_ms = 30000;
	s->step_began_ms = 1; /* after the machine started */
	trial = status_step(s, &elapsed);
	assert_string_equal(trial, "on trial, 30 of 30 s");
	assert_int_equal(elapsed, 30000);
	table = table_of(&l, &plain, NULL);
	assert_non_null(strstr(table, "  trial 30 of 30 s  "));
	/* A clock that this program reads a moment earlier. */
	replace_string(&s->step, "waits for healthy");
	s->step_began_ms = now_ms() + 1000000;
	healthy = status_step(s, &elapsed);
	assert_string_equal(healthy, "waits for healthy, 0 of at most 30 s");
	replace_string(&s->step, "asks the registry");
	s->step_ms = 0;
	plain_step = status_step(s, &elapsed);
	assert_string_equal(plain_step, "asks the registry");
	assert_int_equal(elapsed, 0);
	status_list_clear(&l);
}

/* At 80 columns and more every line fits: a long name goes on below, a long note is cut. */
static void test_table_fits_whatever_the_lengths(void **state)
{
	char name[121] = "", reason[200] = "";

	for (size_t n = 0; n + 1 < sizeof(reason); n++) {
		struct status_list l = {0};
		_cleanup_free_ char *text = NULL;
		struct terminal t = {.width = 80 + n % 30};
		size_t x = 0;
		char *rest;

		reason[n] = 'r';
		name[n < 120 ? n : 119] = 'x';
		status_reject(one(&l, name), B, reason);
		text = rest = table_of(&l, &t, NULL);
		for (char *line = strsep(&rest, "\n"); rest; line = strsep(&rest, "\n")) {
			assert_true(mbstowcs(NULL, line, 0) <= t.width);
			for (const char *c = line; *c; c++)
				x += *c == 'x';
		}
		assert_int_equal(x, strlen(name));
		status_list_clear(&l);
	}
}

/* Nothing in a record controls the terminal. */
static void test_controls(void **state)
{
	struct status_list l = {0};
	struct status *s = one(&l, "app");
	_cleanup_free_ char *table = NULL, *details = NULL;

	replace_string(&s->last_error, "no \033[2J such \xc2\x9b manifest");
	table = table_of(&l, &plain, NULL);
	details = details_of(s);
	assert_non_null(strstr(table, "\n  no ?[2J such ?? manifest\n"));
	assert_non_null(strstr(details, "  Error: no ?[2J such ?? manifest\n"));
	assert_non_null(strstr(details, "    Log: journalctl PULLET_CONTAINER=app\n"));
	status_list_clear(&l);
	free(table);
	table = table_of(&l, &plain, NULL);
	assert_string_equal(table, "");
}

static void test_what_waits_says_why(void **state)
{
	struct status_list l = {0};
	struct status *s = one(&l, "app");
	_cleanup_free_ char *table = NULL, *details = NULL;

	replace_string(&s->target, B);
	replace_string(&s->last_result, "{\"container\":\"app\",\"result\":\"deferred\","
					"\"to\":\"" B "\",\"reason\":\"outside its window\"}");
	table = table_of(&l, &plain, NULL);
	assert_non_null(strstr(table, "\n  outside its window\n"));
	details = details_of(s);
	assert_non_null(
		strstr(details, "\n   Last: deferred sha256:bbbbbbbbbbbb: outside its window\n"));
	/* A rejected digest says for itself why. */
	replace_string(&s->target, "");
	status_reject(s, B, "it exited with status 3");
	replace_string(&s->last_error, "it exited with status 3");
	free(table);
	table = table_of(&l, &plain, NULL);
	assert_non_null(strstr(table, "\n  rejected bbbbbbbbbbbb: it exited with status 3\n"));
	assert_null(strstr(table, "\n  it exited"));
	assert_null(strstr(table, "window"));
	status_list_clear(&l);
}

static void test_details_are_whole(void **state)
{
	char long_text[500];
	struct status_list l = {0};
	struct status *s = one(&l, "app");
	_cleanup_free_ char *text = NULL, *table = NULL;
	size_t n = 0;
	char *rest;

	setenv("TZ", "UTC", 1);
	memset(long_text, 'e', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	replace_string(&s->last_error, long_text);
	replace_string(&s->previous, B);
	replace_string(&s->operation, "update");
	s->held = true;
	s->held_until_us = (uint64_t)1798135200 * 1000000; /* 2026-12-24 18:00 */
	replace_string(&s->held_by, "alice");
	replace_string(&s->held_reason, "stock-taking");
	s->total = 2000;
	s->bytes = 1000;
	status_reject(s, B, "a reason");
	text = details_of(s);
	assert_non_null(strstr(text, "  Phase: idle (update), 1.0 kB of 2.0 kB\n"));
	assert_non_null(strstr(text, "   Held: by alice until 2026-12-24 18:00: stock-taking; "
				     "to release it: pullet\n         release app\n"));
	table = table_of(&l, &plain, NULL);
	assert_non_null(strstr(table, "\n  held by alice until 2026-12-24 18:00: stock-taking\n"));
	assert_non_null(strstr(text, "Current: " A "\n"));
	assert_non_null(strstr(text, " Before: " B "\n"));
	assert_non_null(strstr(text, " Reject: " B "\n         a reason\n"));
	assert_null(strstr(text, "Target"));
	for (const char *c = strstr(text, "Error"); *c; c++)
		n += *c == 'e';
	assert_true(n >= sizeof(long_text) - 1);
	rest = text;
	for (char *line = strsep(&rest, "\n"); rest; line = strsep(&rest, "\n"))
		assert_true(strlen(line) <= 80);
	status_list_clear(&l);
}

static void test_record(void **state)
{
	struct container_config c = {.name = (char[]){"app"}, .image = (char[]){"reg/app:stable"}};
	struct status_list l = {0};
	struct status *s = status_list_get(&l, "app");
	struct record r;

	record_init(&r);
	r.held = true;
	copy_text(r.hold.by, sizeof(r.hold.by), "alice");
	r.current.digest = (struct digest){A};
	r.target.digest = (struct digest){B};
	record_reject(&r, &r.target, "", "bad");
	status_take_record(s, &c, &r);
	assert_string_equal(s->current, A);
	assert_string_equal(s->target, ""); /* meaningless while nothing is under way */
	assert_true(s->held && json_array_size(s->rejected) == 1);
	assert_string_equal(json_get_string(json_array_get(s->rejected, 0), "reason"), "bad");
	assert_string_equal(s->held_by, "alice");
	r.phase = PHASE_TRIAL;
	r.held = false;
	c.hold = true;
	status_take_record(s, &c, &r);
	assert_string_equal(s->phase, "trial");
	assert_string_equal(s->target, B);
	assert_true(s->held && json_array_size(s->rejected) == 1);
	status_list_clear(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_object),
		cmocka_unit_test(test_by_whom_it_is_signed),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_downloads),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_details_are_whole),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_what_waits_says_why),
		cmocka_unit_test(test_table_fits_whatever_the_lengths),
		cmocka_unit_test(test_controls),
	};

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	(void)setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
