/* SPDX-License-Identifier: MIT */
#include "clock.h"

#include <sys/timex.h>
#include <time.h>

#define TIMESYNC     "/run/systemd/timesync"
#define SYNCHRONISED TIMESYNC "/synchronized" /* systemd-timesyncd.service(8) */
#define RTC	     "/sys/class/rtc/rtc0"

bool clock_is_set(const struct clock_facts *f)
{
	/* PULLET_EPOCH: the time of the build, or SOURCE_DATE_EPOCH. */
	return f->synchronised || (f->now_s >= PULLET_EPOCH && (f->rtc || !f->waiting));
}

int64_t clock_wall_ns(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_now(void)
{
	struct timex query = {.modes = 0};
	/* ProtectClock=yes forbids adjtimex(2): the file decides alone then. */
	int state = adjtimex(&query);
	bool heard = access(SYNCHRONISED, F_OK) == 0;
	struct clock_facts f = {
		.now_s = (int64_t)time(NULL),
		.synchronised = heard || (state >= 0 && !(query.status & STA_UNSYNC)),
		.waiting = !heard && access(TIMESYNC, F_OK) == 0,
		.rtc = access(RTC, F_OK) == 0,
	};

	return clock_is_set(&f) && f.now_s > 0 ? f.now_s : 0;
}
