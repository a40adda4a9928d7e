/* Journal of what a process writes below a folder, for tests that cut its power.
 *
 * Preloaded into a server (LD_PRELOAD), it wraps the calls by which SQLite changes files. Each
 * change of a file below POWERCUT_FOLDER is made and, under one lock, appended to POWERCUT_JOURNAL:
 *
 *     kind: char, length of the path: uint32, offset: int64, length of the data: uint32, path, data
 *
 * kinds: W write, T truncate (to offset), S sync, U unlink, R rename (data is the new path).
 * Shared memory of SQLite (-shm) is left out: it is made again after a crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FILES 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[MAX_FILES];
static int journal = -1;
static const char *folder;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    folder = getenv("POWERCUT_FOLDER");
    const char *path = getenv("POWERCUT_JOURNAL");
    if (folder && path) journal = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int watched(const char *path) {
    size_t end = path ? strlen(path) : 0;
    return journal >= 0 && path && !strncmp(path, folder, strlen(folder)) &&
           !(end > 4 && !strcmp(path + end - 4, "-shm"));
}

static void note(char kind, const char *path, int64_t offset, const void *data, uint32_t size) {
    uint32_t length = strlen(path);
    /* In one call, since the server and its reading process append to the same journal. */
    struct iovec parts[] = {{&kind, 1},        {&length, 4},          {&offset, 8},
                            {&size, 4},        {(void *)path, length}, {(void *)data, size}};
    if (writev(journal, parts, 6) != 17 + (ssize_t)length + (ssize_t)size) abort();
}

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < MAX_FILES) {
        pthread_mutex_lock(&lock);
        free(paths[fd]);
        paths[fd] = watched(path) ? strdup(path) : NULL;
        if (paths[fd]) note('W', path, 0, "", 0); /* the file exists from now on */
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

static const char *path_of(int fd) { return fd >= 0 && fd < MAX_FILES ? paths[fd] : NULL; }

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name)                                        \
    int name(const char *path, int flags, ...) {          \
        va_list rest;                                     \
        va_start(rest, flags);                            \
        mode_t mode = mode_of(flags, rest);               \
        va_end(rest);                                     \
        return opened(REAL(name)(path, flags, mode), path); \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (path_of(fd)) {
        pthread_mutex_lock(&lock);
        free(paths[fd]);
        paths[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return REAL(close)(fd);
}

/* Make a change and note it, as one step. */
#define CHANGE(type, call, ok, kind, offset, data, size)  \
    const char *path = path_of(fd);                       \
    if (!path) return call;                               \
    pthread_mutex_lock(&lock);                            \
    type done = call;                                     \
    if (ok) note(kind, path, offset, data, size);         \
    pthread_mutex_unlock(&lock);                          \
    return done;

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    CHANGE(ssize_t, REAL(pwrite)(fd, data, size, offset), done > 0, 'W', offset, data, done)
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    CHANGE(ssize_t, REAL(pwrite64)(fd, data, size, offset), done > 0, 'W', offset, data, done)
}
ssize_t write(int fd, const void *data, size_t size) {
    CHANGE(ssize_t, REAL(write)(fd, data, size), done > 0, 'W', lseek(fd, 0, SEEK_CUR) - done, data,
           done)
}
int ftruncate(int fd, off_t size) {
    CHANGE(int, REAL(ftruncate)(fd, size), !done, 'T', size, "", 0)
}
int ftruncate64(int fd, off64_t size) {
    CHANGE(int, REAL(ftruncate64)(fd, size), !done, 'T', size, "", 0)
}
int fsync(int fd) { CHANGE(int, REAL(fsync)(fd), !done, 'S', 0, "", 0) }
int fdatasync(int fd) { CHANGE(int, REAL(fdatasync)(fd), !done, 'S', 0, "", 0) }

int unlink(const char *path) {
    if (!watched(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int done = REAL(unlink)(path);
    if (!done) note('U', path, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int rename(const char *from, const char *to) {
    if (!watched(from)) return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int done = REAL(rename)(from, to);
    if (!done) note('R', from, 0, to, strlen(to));
    pthread_mutex_unlock(&lock);
    return done;
}
