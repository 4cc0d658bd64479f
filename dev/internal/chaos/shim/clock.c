/* Shifts the wall clock that a program sees by CLOCK_SHIFT_SECONDS. The monotonic clock, and with it every timeout, stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void)
{
	static int known;
	static long seconds;
	if (!known) {
		const char *text = getenv("CLOCK_SHIFT_SECONDS");
		seconds = text ? atol(text) : 0;
		known = 1;
	}
	return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	static int (*real)(clockid_t, struct timespec *);
	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int failed = real(clock, out);
	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		out->tv_sec += shift();
	return failed;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	(void)zone;
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now))
		return -1;
	out->tv_sec = now.tv_sec;
	out->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out)
{
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now))
		return (time_t)-1;
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
