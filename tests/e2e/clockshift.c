/* A wall clock that a test sets, under a real program: preload this library, and every reading of
 * the time of day is shifted by the seconds that stand in the file CLOCKSHIFT_FILE (8 bytes, as the
 * machine keeps an int64_t), also when they change while the program runs. Clocks that only go
 * forward are left alone.
 *
 * The file is mapped at the start: a process that may open nothing later sees the changes, too. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static const _Atomic int64_t no_shift;
static const _Atomic int64_t *shift = &no_shift;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("CLOCKSHIFT_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        abort(); /* a test that shifts nothing would prove nothing */
    (void)close(fd);
    shift = map;
}

EXPORT int clock_gettime(clockid_t id, struct timespec *ret_now)
{
    int result = (int)syscall(SYS_clock_gettime, id, ret_now);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ret_now->tv_sec += (time_t)atomic_load(shift);
    return result;
}

EXPORT time_t time(time_t *ret_now)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now != NULL)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}

EXPORT int gettimeofday(struct timeval *restrict ret_now, void *restrict zone)
{
    struct timespec now = {0};
    (void)zone; /* obsolete */
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *ret_now = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}
