/* A bad host for one process (LD_PRELOAD): disks that fail, a wall clock that steps.
 *
 * The file named by QKDD_FAULTS is read at every call; its first line is
 *     OPERATION ERRNO PART        "write 28 keys.sqlite": writing to files with PART in their path
 *     clock SECONDS -             the wall clock is so much ahead
 * or it is not there, and all is well. Nothing else of the process is touched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int fault(char *operation, long *number, char *part)
{
    char text[256];
    const char *path = getenv("QKDD_FAULTS");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    long n = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    return sscanf(text, "%31s %ld %127s", operation, number, part) == 3;
}

static int fails(const char *operation, int fd)
{
    char wanted[32], part[128], link[64], path[512];
    long number;
    int saved = errno;
    if (!fault(wanted, &number, part) || strcmp(wanted, operation))
        return errno = saved, 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return errno = saved, 0;
    path[n] = 0;
    errno = strstr(path, part) ? (int)number : saved;
    return strstr(path, part) != NULL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t n)
{
    return fails("write", fd) ? -1 : REAL(write)(fd, data, n);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    return fails("write", fd) ? -1 : REAL(pwrite64)(fd, data, n, at);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    return fails("write", fd) ? -1 : REAL(pwrite)(fd, data, n, at);
}

int fsync(int fd)
{
    return fails("sync", fd) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return fails("sync", fd) ? -1 : REAL(fdatasync)(fd);
}

static long ahead_s(void)
{
    char operation[32], part[128];
    long number;
    int saved = errno;
    int found = fault(operation, &number, part) && !strcmp(operation, "clock");
    errno = saved;
    return found ? number : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (!result && clock == CLOCK_REALTIME)
        now->tv_sec += ahead_s();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int result = (int)syscall(SYS_gettimeofday, now, zone);
    if (!result)
        now->tv_sec += ahead_s();
    return result;
}

time_t time(time_t *out)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
