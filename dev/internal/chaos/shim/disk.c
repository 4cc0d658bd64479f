/*
 * A disk that is slow, or full, for a program that is linked against the C library. DISK_CONTROL names a file of two native 32-bit
 * numbers that may change at any time: the milliseconds that each flush takes longer, and whether files below a directory "base"
 * (Postgres's tables and indexes) may not grow.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
	volatile int32_t flush_ms;
	volatile int32_t full;
};

static const struct control *control;

__attribute__((constructor)) static void map_control(void)
{
	const char *path = getenv("DISK_CONTROL");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *at = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED)
		control = at;
	close(fd);
}

static void flush_slowly(void)
{
	if (!control || control->flush_ms <= 0)
		return;
	struct timespec left = {control->flush_ms / 1000, control->flush_ms % 1000 * 1000000L};
	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

int fsync(int fd)
{
	static int (*real)(int);
	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	flush_slowly();
	return real(fd);
}

int fdatasync(int fd)
{
	static int (*real)(int);
	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	flush_slowly();
	return real(fd);
}

/* Whether writing there would make a table or an index longer on a full disk. */
static int no_space(int fd, off_t end)
{
	struct stat st;
	char link[64], path[4096];
	if (!control || !control->full || fstat(fd, &st) || end <= st.st_size)
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return 0;
	path[n] = 0;
	return strstr(path, "/base/") != NULL;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);
	if (!real)
		real = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
	if (no_space(fd, offset + (off_t)size)) {
		errno = ENOSPC;
		return -1;
	}
	return real(fd, data, size, offset);
}

ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	static ssize_t (*real)(int, const struct iovec *, int, off_t);
	if (!real)
		real = (ssize_t(*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, "pwritev");
	off_t end = offset;
	for (int i = 0; i < count; i++)
		end += (off_t)parts[i].iov_len;
	if (no_space(fd, end)) {
		errno = ENOSPC;
		return -1;
	}
	return real(fd, parts, count, offset);
}

ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));

int posix_fallocate(int fd, off_t offset, off_t size)
{
	static int (*real)(int, off_t, off_t);
	if (!real)
		real = (int (*)(int, off_t, off_t))dlsym(RTLD_NEXT, "posix_fallocate");
	return no_space(fd, offset + size) ? ENOSPC : real(fd, offset, size);
}

int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));
