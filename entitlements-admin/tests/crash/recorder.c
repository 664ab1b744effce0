/* Writes down what a program does to the files of one folder, in the order in which it happens.
 *
 * Preloaded into the program. RECORDER_FOLDER is the folder, RECORDER_LOG the file to append to.
 * Each record is a header and a text: the path below the folder, or the bytes that were written.
 * `recording.rs` reads it back. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct header {
    uint64_t file;   /* the inode, which follows a file through renames */
    uint64_t number; /* an offset, a length or a mode */
    uint32_t length; /* of the text */
    uint32_t op;
};

#define FILES_MAX 4096

static struct { uint64_t file; char *folder; } opened[FILES_MAX];
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static int record_to = -1;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void start(void) {
    const char *log = getenv("RECORDER_LOG"), *of = getenv("RECORDER_FOLDER");
    if (!log || !of || !realpath(of, folder)) return;
    folder_length = strlen(folder);
    record_to = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (record_to < 0) abort();
}

/* The part of a path below the folder, or nothing where it lies elsewhere. The map of memory that
 * SQLite shares between processes is no part of what is kept: it is made anew. */
static const char *below(const char *path) {
    if (record_to < 0 || strncmp(path, folder, folder_length)) return NULL;
    size_t length = strlen(path);
    if (length > 4 && !strcmp(path + length - 4, "-shm")) return NULL;
    if (!path[folder_length]) return "";
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static void record(char op, uint64_t file, uint64_t number, const void *text, size_t length) {
    struct header header = { file, number, (uint32_t)length, (uint32_t)op };
    struct iovec parts[2] = { { &header, sizeof header }, { (void *)text, length } };
    if (writev(record_to, parts, 2) != (ssize_t)(sizeof header + length)) abort();
}

static void record_path(char op, uint64_t file, uint64_t number, const char *path) {
    record(op, file, number, path, strlen(path));
}

static uint64_t known(int fd) { return fd >= 0 && fd < FILES_MAX ? opened[fd].file : 0; }

static int opening(int fd, const char *path, int flags, int existed) {
    struct stat now;
    if (fd < 0 || fd >= FILES_MAX || fstat(fd, &now)) return fd;
    opened[fd].file = now.st_ino;
    opened[fd].folder = S_ISDIR(now.st_mode) ? strdup(path) : NULL;
    if (!existed) record_path('c', now.st_ino, now.st_mode & 07777, path);
    if (existed && (flags & O_TRUNC)) record('t', now.st_ino, 0, "", 0);
    return fd;
}

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                    \
        va_list rest;                                                               \
        va_start(rest, flags);                                                      \
        int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;         \
        va_end(rest);                                                               \
        const char *inside = below(path);                                           \
        if (!inside) return REAL(name)(path, flags, mode);                          \
        pthread_mutex_lock(&one_at_a_time);                                         \
        struct stat before;                                                         \
        int existed = !stat(path, &before);                                         \
        int fd = opening(REAL(name)(path, flags, mode), inside, flags, existed);    \
        pthread_mutex_unlock(&one_at_a_time);                                       \
        return fd;                                                                  \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (known(fd)) {
        pthread_mutex_lock(&one_at_a_time);
        opened[fd].file = 0;
        free(opened[fd].folder);
        opened[fd].folder = NULL;
        pthread_mutex_unlock(&one_at_a_time);
    }
    return REAL(close)(fd);
}

/* Does something, and writes it down where it went well. */
#define DO(call, worked, write_down)                \
    do {                                            \
        pthread_mutex_lock(&one_at_a_time);         \
        __typeof__(call) result = (call);           \
        int error = errno;                          \
        if (worked) { write_down; }                 \
        pthread_mutex_unlock(&one_at_a_time);       \
        errno = error;                              \
        return result;                              \
    } while (0)

#define PWRITE(name, offset_type)                                                   \
    ssize_t name(int fd, const void *bytes, size_t count, offset_type offset) {     \
        uint64_t file = known(fd);                                                  \
        if (!file) return REAL(name)(fd, bytes, count, offset);                     \
        DO(REAL(name)(fd, bytes, count, offset), result > 0,                        \
           record('w', file, (uint64_t)offset, bytes, (size_t)result));             \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *bytes, size_t count) {
    uint64_t file = known(fd);
    if (!file) return REAL(write)(fd, bytes, count);
    DO(REAL(write)(fd, bytes, count), result > 0,
       record('w', file, (uint64_t)(lseek(fd, 0, SEEK_CUR) - result), bytes, (size_t)result));
}

#define TRUNCATE(name, length_type)                                                 \
    int name(int fd, length_type length) {                                          \
        uint64_t file = known(fd);                                                  \
        if (!file) return REAL(name)(fd, length);                                   \
        DO(REAL(name)(fd, length), result == 0, record('t', file, (uint64_t)length, "", 0)); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                                  \
    int name(int fd) {                                                              \
        uint64_t file = known(fd);                                                  \
        if (!file) return REAL(name)(fd);                                           \
        DO(REAL(name)(fd), result == 0,                                             \
           if (opened[fd].folder) record_path('d', file, 0, opened[fd].folder);     \
           else record('s', file, 0, "", 0));                                       \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    const char *inside = below(path);
    if (!inside) return REAL(unlink)(path);
    DO(REAL(unlink)(path), result == 0, record_path('u', 0, 0, inside));
}

int mkdir(const char *path, mode_t mode) {
    const char *inside = below(path);
    if (!inside) return REAL(mkdir)(path, mode);
    DO(REAL(mkdir)(path, mode), result == 0, record_path('m', 0, 0, inside));
}

int rename(const char *from, const char *to) {
    const char *before = below(from), *after = below(to);
    if (!before || !after) return REAL(rename)(from, to);
    char both[2 * PATH_MAX];
    int length = snprintf(both, sizeof both, "%s\n%s", before, after);
    DO(REAL(rename)(from, to), result == 0, record('r', 0, 0, both, (size_t)length));
}
