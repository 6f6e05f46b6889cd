/* SPDX-License-Identifier: MIT */
/* simulate: a fleet of any size under a virtual clock, by the agent's own schedule.c, cohort.c and rollout.c.
 * What a poll costs the registry is told on the command line: tests/fleet/swarm measures it on real ones.
 * Devices do not know of each other, so each is followed from its boot to the end before the next one.
 * Prints one JSON object. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>

#include "cohort.h"
#include "device.h"
#include "rollout.h"
#include "schedule.h"

#define SLICES	     100		   /* of an interval, for counting */
#define BASE_S	     ((int64_t)1800000000) /* Unix time at which the clock starts */
#define NEW_DIGEST   "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define BOOT_LAST_MS 1000 /* "in the same second" */

struct cost {
	double requests, bytes;
};

struct simulation {
	uint64_t devices, interval_ms, end_ms, publish_ms;
	unsigned int jitter;
	double link; /* bytes a second that a device's link carries */
	bool spread; /* boots are spread over a day and not in one second */
	bool cloned; /* all have one machine id */
	struct cost quiet, news, wait, pull;
	bool has_policy;
	struct rollout policy;
	struct digest digest;

	/* results, by slice */
	size_t n;
	double *requests, *bytes, *took;
};

static uint64_t mixed(uint64_t x)
{
	x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
	x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
	return x ^ (x >> 33);
}

static size_t slice_of(const struct simulation *s, uint64_t ms)
{
	size_t i = (size_t)(ms * SLICES / s->interval_ms);

	return i < s->n ? i : s->n - 1;
}

static void count(struct simulation *s, uint64_t ms, const struct cost *c)
{
	size_t i = slice_of(s, ms);

	s->requests[i] += c->requests;
	s->bytes[i] += c->bytes;
}

/* A download takes its time on the device's link. */
static void count_pull(struct simulation *s, uint64_t ms)
{
	uint64_t end = ms + (uint64_t)(s->pull.bytes / s->link * 1000);
	size_t first = slice_of(s, ms), last = slice_of(s, end);

	s->requests[first] += s->pull.requests;
	for (size_t i = first; i <= last; i++)
		s->bytes[i] += s->pull.bytes / (double)(last - first + 1);
	if (end < s->end_ms)
		s->took[last]++;
}

static void name_device(const struct simulation *s, uint64_t i, char ret[DEVICE_ID_SIZE])
{
	uint64_t n = s->cloned ? 0 : i;

	(void)snprintf(ret, DEVICE_ID_SIZE, "%016llx%016llx", (unsigned long long)mixed(2 * n + 1),
		       (unsigned long long)mixed(2 * n + 2));
}

/* When the policy lets this device have it. */
static uint64_t turn_ms(const struct simulation *s, const char *id)
{
	int64_t turn;

	if (!s->has_policy)
		return s->publish_ms;
	turn = rollout_turn(&s->policy, cohort_position(id, &s->digest));
	if (turn == ROLLOUT_NEVER)
		return UINT64_MAX;
	return turn <= BASE_S ? s->publish_ms : (uint64_t)(turn - BASE_S) * 1000;
}

static void follow(struct simulation *s, uint64_t i)
{
	char id[DEVICE_ID_SIZE];
	uint64_t number, turn, boot_ms = mixed(i) % BOOT_LAST_MS, since_boot = BOOT_LAST_MS;
	const struct cost *cost = &s->quiet;
	bool updated = false;

	name_device(s, i, id);
	number = device_number(id);
	turn = turn_ms(s, id);
	/* A device that has been up for long is anywhere in its interval. */
	if (s->spread)
		since_boot += mixed(~i) % (24 * 3600 * 1000);
	for (uint64_t boottime = since_boot;;) {
		uint64_t t;

		boottime = schedule_next_poll(boottime, s->interval_ms, s->jitter, number);
		t = boot_ms + boottime - since_boot;
		if (t >= s->end_ms)
			return;
		/* The details are asked for at the first sight, and again when its turn has come. */
		if (updated)
			cost = &s->quiet;
		else if (t >= s->publish_ms)
			cost = t >= turn || cost == &s->quiet ? &s->news : &s->wait;
		count(s, t, cost);
		if (!updated && t >= s->publish_ms && t >= turn) {
			count_pull(s, t);
			updated = true;
		}
	}
}

/* The busiest tenth of an interval beside the mean of the interval around it, from the first interval on to
 * the one in which the new version comes. */
static double herd_factor(const struct simulation *s)
{
	size_t end = s->publish_ms < s->end_ms ? slice_of(s, s->publish_ms) : s->n;
	size_t window = SLICES / 10, intervals = end / SLICES;
	double sum = 0, most = 0, all = 0;

	end = intervals * SLICES;
	for (size_t i = 0; i < end; i++) {
		all += s->requests[i];
		sum += s->requests[i] - (i >= window ? s->requests[i - window] : 0);
		if (i + 1 >= window && sum > most)
			most = sum;
	}
	return all > 0 ? most / (all / (double)end * (double)window) : 0;
}

static json_t *list(const double *values, size_t n, double scale, bool sum)
{
	json_t *out = json_array();
	double total = 0;

	for (size_t i = 0; i < n; i++) {
		total += values[i];
		json_array_append_new(out, json_real((sum ? total : values[i]) * scale));
	}
	return out;
}

static void print(const struct simulation *s)
{
	double slice_s = (double)s->interval_ms / 1000 / SLICES;
	json_t *out = json_pack("{s:I, s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "devices",
				(json_int_t)s->devices, "interval_s", (double)s->interval_ms / 1000,
				"slice_s", slice_s, "publish_s", (double)s->publish_ms / 1000,
				"herd_factor", herd_factor(s), "requests_per_s",
				list(s->requests, s->n, 1 / slice_s, false), "bytes_per_s",
				list(s->bytes, s->n, 1 / slice_s, false), "share",
				list(s->took, s->n, 1 / (double)s->devices, true));

	json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	puts("");
	json_decref(out);
}

static int usage(FILE *f, int status)
{
	fputs("Usage: simulate [OPTION]...\n"
	      "  --devices N       (1000)\n"
	      "  --interval S      seconds between polls (900)\n"
	      "  --jitter PERCENT  (10)\n"
	      "  --length S        of the story (two intervals)\n"
	      "  --publish S       when the new version comes (never)\n"
	      "  --policy FILE     for it; times count from 1800000000, when the story begins\n"
	      "  --link BYTES      a second, of each device (8000)\n"
	      "  --spread          boots spread over a day, not in one second\n"
	      "  --cloned          all devices have one machine id\n"
	      "  --quiet, --news, --wait, --pull REQUESTS,BYTES   what each costs the registry:\n"
	      "                    a poll without news, one with news (seen first, or taken),\n"
	      "                    one of a device that waits, the engine's pull\n",
	      f);
	return status;
}

static void read_cost(const char *text, struct cost *ret)
{
	if (sscanf(text, "%lf,%lf", &ret->requests, &ret->bytes) != 2)
		exit(usage(stderr, 2));
}

static double read_number(const char *text)
{
	char *end;
	double n = strtod(text, &end);

	if (*end || n < 0)
		exit(usage(stderr, 2));
	return n;
}

static void read_policy(struct simulation *s, const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct error e = {0};
	size_t n = 0;
	int r = read_file_at(AT_FDCWD, path, ROLLOUT_BYTES_MAX, &text, &n);

	if (r < 0)
		(void)error_set(&e, r, "%s", strerror(-r));
	if (r < 0 || rollout_parse(text, n, NULL, &s->policy, &e) < 0) {
		fprintf(stderr, "simulate: %s: %s\n", path, e.text);
		exit(2);
	}
	s->has_policy = true;
}

static void parse(struct simulation *s, int argc, char **argv)
{
	static const struct option options[] = {
		{"devices", required_argument, NULL, 'n'},
		{"interval", required_argument, NULL, 'i'},
		{"jitter", required_argument, NULL, 'j'},
		{"length", required_argument, NULL, 'l'},
		{"publish", required_argument, NULL, 'p'},
		{"policy", required_argument, NULL, 'P'},
		{"link", required_argument, NULL, 'b'},
		{"spread", no_argument, NULL, 's'},
		{"cloned", no_argument, NULL, 'c'},
		{"quiet", required_argument, NULL, 1},
		{"news", required_argument, NULL, 2},
		{"wait", required_argument, NULL, 3},
		{"pull", required_argument, NULL, 4},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct cost *costs[] = {&s->quiet, &s->news, &s->wait, &s->pull};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'n')
			s->devices = (uint64_t)read_number(optarg);
		else if (c == 'i')
			s->interval_ms = (uint64_t)(read_number(optarg) * 1000);
		else if (c == 'j')
			s->jitter = (unsigned int)read_number(optarg);
		else if (c == 'l')
			s->end_ms = (uint64_t)(read_number(optarg) * 1000);
		else if (c == 'p')
			s->publish_ms = (uint64_t)(read_number(optarg) * 1000);
		else if (c == 'P')
			read_policy(s, optarg);
		else if (c == 'b')
			s->link = read_number(optarg);
		else if (c == 's')
			s->spread = true;
		else if (c == 'c')
			s->cloned = true;
		else if (c >= 1 && c <= 4)
			read_cost(optarg, costs[c - 1]);
		else
			exit(usage(c == 'h' ? stdout : stderr, c == 'h' ? 0 : 2));
	}
}

int main(int argc, char **argv)
{
	struct simulation s = {.devices = 1000,
			       .interval_ms = 900000,
			       .jitter = 10,
			       .publish_ms = UINT64_MAX,
			       .link = 8000,
			       .quiet = {1, 0},
			       .news = {1, 0},
			       .wait = {1, 0}};

	parse(&s, argc, argv);
	if (s.end_ms == 0)
		s.end_ms = 2 * s.interval_ms;
	if (s.devices == 0 || s.interval_ms < SLICES || s.link <= 0 || s.end_ms < s.interval_ms)
		return usage(stderr, 2);
	if (digest_parse(NEW_DIGEST, &s.digest) < 0)
		abort();
	s.n = (size_t)(s.end_ms * SLICES / s.interval_ms);
	s.requests = xcalloc(s.n, sizeof(double));
	s.bytes = xcalloc(s.n, sizeof(double));
	s.took = xcalloc(s.n, sizeof(double));
	for (uint64_t i = 0; i < s.devices; i++)
		follow(&s, i);
	print(&s);
	free(s.requests);
	free(s.bytes);
	free(s.took);
	return 0;
}
