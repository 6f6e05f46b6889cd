/* SPDX-License-Identifier: MIT */
/* Preloaded into a program: the machine has just started without a battery, and no time server has answered. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define START 1000000 /* in January of 1970 */

static time_t boot_seconds(struct timespec *ts)
{
	syscall(SYS_clock_gettime, CLOCK_BOOTTIME, ts);
	return ts->tv_sec;
}

time_t time(time_t *ret)
{
	struct timespec ts;
	time_t t = START + boot_seconds(&ts) % 1000;

	if (ret)
		*ret = t;
	return t;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (clock != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, clock, ret);
	ret->tv_sec = START + boot_seconds(ret) % 1000;
	return 0;
}

int adjtimex(struct timex *ret)
{
	ret->status = STA_UNSYNC;
	return TIME_ERROR;
}
