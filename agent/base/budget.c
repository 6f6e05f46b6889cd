/* SPDX-License-Identifier: MIT */
#include "budget.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>

#define BYTES_MAX INT64_MAX /* of JSON */
#define FUTURE_S  (31 * 86400)
#define DATE	  "[0-9][0-9][0-9][0-9]-[0-9][0-9]"

struct dates {
	char day[sizeof("2026-12-01")], month[sizeof("2026-12")];
};

static bool find_dates(int64_t at_s, struct dates *ret)
{
	time_t at = (time_t)at_s;
	struct tm local;

	return localtime_r(&at, &local) && local.tm_year < 8100 &&
	       strftime(ret->day, sizeof(ret->day), "%Y-%m-%d", &local) > 0 &&
	       strftime(ret->month, sizeof(ret->month), "%Y-%m", &local) > 0;
}

/* Only a later date starts from 0. Bytes from before the first date belong to it. */
static bool begin_date(char *date, const char *now, size_t size, uint64_t *bytes)
{
	if (strcmp(now, date) <= 0)
		return false;
	if (date[0])
		*bytes = 0;
	memcpy(date, now, size);
	return true;
}

static bool begin_dates(struct budget *b, int64_t now_s)
{
	struct dates now, future;
	bool changed;

	if (now_s <= 0 || !find_dates(now_s, &now) || !find_dates(now_s + FUTURE_S, &future))
		return false;
	/* A date that a wrong clock left in the future would stop all downloads until then: it is taken back. */
	if (strcmp(b->day, future.day) > 0 || strcmp(b->month, future.month) > 0) {
		memcpy(b->day, now.day, sizeof(b->day));
		memcpy(b->month, now.month, sizeof(b->month));
		return true;
	}
	changed = begin_date(b->day, now.day, sizeof(b->day), &b->day_bytes);
	return begin_date(b->month, now.month, sizeof(b->month), &b->month_bytes) || changed;
}

static void add_bytes(uint64_t *sum, uint64_t n)
{
	*sum = *sum > BYTES_MAX || n > BYTES_MAX - *sum ? BYTES_MAX : *sum + n;
}

bool budget_add(struct budget *b, const struct traffic *t, int64_t now_s)
{
	bool changed = begin_dates(b, now_s);
	uint64_t counted = streq(t->id, b->id) && t->bytes >= b->counter ? b->counter : 0;

	if (!t->id[0] || (counted == t->bytes && streq(t->id, b->id)))
		return changed;
	add_bytes(&b->day_bytes, t->bytes - counted);
	add_bytes(&b->month_bytes, t->bytes - counted);
	copy_text(b->id, sizeof(b->id), t->id);
	b->counter = t->bytes;
	return true;
}

static uint64_t rest(uint64_t budget, uint64_t used)
{
	if (budget == 0)
		return UINT64_MAX;
	return budget > used ? budget - used : 0;
}

uint64_t budget_left(const struct budget *b, const struct config *c)
{
	uint64_t day = rest(c->budget_day, b->day_bytes);
	uint64_t month = rest(c->budget_month, b->month_bytes);

	return day < month ? day : month;
}

const char *budget_spent(const struct budget *b, const struct config *c, char *buf, size_t size)
{
	bool month = rest(c->budget_month, b->month_bytes) == 0;
	_cleanup_free_ char *bytes = text_bytes(month ? c->budget_month : c->budget_day);

	if (budget_left(b, c) > 0)
		return NULL;
	/* The month's lasts longer. */
	(void)snprintf(buf, size, "the budget of the %s is used up (%s)", month ? "month" : "day",
		       bytes);
	return buf;
}

json_t *budget_to_json(const struct budget *b)
{
	return json_need(json_pack("{s:s, s:I, s:s, s:s, s:I, s:I}", "id", b->id, "counter",
				   (json_int_t)b->counter, "day", b->day, "month", b->month,
				   "day_bytes", (json_int_t)b->day_bytes, "month_bytes",
				   (json_int_t)b->month_bytes));
}

struct budget budget_lost(void)
{
	return (struct budget){.day_bytes = BYTES_MAX};
}

static bool is_date(const char *s, const char *shape)
{
	return !s[0] || fnmatch(shape, s, 0) == 0;
}

int budget_from_json(const json_t *j, struct budget *ret, struct error *ret_error)
{
	json_int_t counter = -1, day_bytes = -1, month_bytes = -1;
	const char *id, *day, *month;

	*ret = budget_lost();
	if (json_unpack((json_t *)j, "{s:s, s:I, s:s, s:s, s:I, s:I}", "id", &id, "counter",
			&counter, "day", &day, "month", &month, "day_bytes", &day_bytes,
			"month_bytes", &month_bytes) < 0 ||
	    counter < 0 || day_bytes < 0 || month_bytes < 0 || strlen(id) >= sizeof(ret->id) ||
	    !is_date(day, DATE "-[0-9][0-9]") || !is_date(month, DATE))
		return error_set(ret_error, -EBADMSG, "not a budget as Pullet writes it");
	*ret = (struct budget){.counter = (uint64_t)counter,
			       .day_bytes = (uint64_t)day_bytes,
			       .month_bytes = (uint64_t)month_bytes};
	copy_text(ret->id, sizeof(ret->id), id);
	copy_text(ret->day, sizeof(ret->day), day);
	copy_text(ret->month, sizeof(ret->month), month);
	return 0;
}
