/* Preloaded into a process: the Nth write, fsync, rename or mkdir below a folder fails, or kills the process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, SYNC, RENAME, MKDIR, KINDS };

static char below[PATH_MAX];
static long counts[KINDS];
static int armed_kind = -1, armed_errno, killing;
static long armed_at;

/* Count from now on; of this kind, call number `at` (from 1) fails with `number`, or kills where that is 0. */
void faults_arm(const char *folder, int kind, long at, int number) {
    snprintf(below, sizeof below, "%s", folder);
    memset(counts, 0, sizeof counts);
    armed_kind = kind;
    armed_at = at;
    armed_errno = number;
    killing = number == 0;
}

long faults_count(int kind) { return counts[kind]; }

static int strikes(int kind, const char *path) {
    if (!below[0] || strncmp(path, below, strlen(below)) != 0) return 0;
    counts[kind]++;
    if (kind != armed_kind || counts[kind] != armed_at) return 0;
    if (killing) kill(getpid(), SIGKILL);
    errno = armed_errno;
    return 1;
}

static int strikes_descriptor(int kind, int descriptor) {
    char link[64], path[PATH_MAX];
    if (!below[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strikes(kind, path);
}

#define NEXT(result, name, ...) \
    static result (*next)(__VA_ARGS__); \
    if (!next) next = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int descriptor, const void *bytes, size_t count) {
    NEXT(ssize_t, "write", int, const void *, size_t);
    return strikes_descriptor(WRITE, descriptor) ? -1 : next(descriptor, bytes, count);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    NEXT(ssize_t, "writev", int, const struct iovec *, int);
    return strikes_descriptor(WRITE, descriptor) ? -1 : next(descriptor, parts, count);
}

int fsync(int descriptor) {
    NEXT(int, "fsync", int);
    return strikes_descriptor(SYNC, descriptor) ? -1 : next(descriptor);
}

int rename(const char *from, const char *to) {
    NEXT(int, "rename", const char *, const char *);
    return strikes(RENAME, to) ? -1 : next(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    NEXT(int, "renameat", int, const char *, int, const char *);
    return strikes(RENAME, to) ? -1 : next(from_folder, from, to_folder, to);
}

int mkdir(const char *path, mode_t mode) {
    NEXT(int, "mkdir", const char *, mode_t);
    return strikes(MKDIR, path) ? -1 : next(path, mode);
}
