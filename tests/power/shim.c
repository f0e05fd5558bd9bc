/* Recorder and injector of what a process does to the files below one directory.
 *
 * Preloaded (LD_PRELOAD) or loaded and told by power_begin(). Every call is recorded twice: as
 * it begins, with its bytes, and as it ends, with its result. A record is one write to a file
 * opened for appending, so its place in that file is its place in time, over all threads and
 * processes: a call that ended before another one began stands before it. The format is read
 * by tests/power/trace.py.
 *
 *   POWER_TRACE   the file that is appended to
 *   POWER_ROOT    the directory, without a slash at its end
 *   POWER_NOSYNC  syncs of files whose path contains this are left out, and claimed to succeed
 *   POWER_SLOW    every sync takes so many microseconds longer, between its begin and its end
 *   POWER_FAIL    kinds:n:errno:persist, as power_fail() takes them
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 8192
#define PATH_BYTES 4096

enum { OP_OPEN = 1, OP_CLOSE, OP_WRITE, OP_SYNC, OP_TRUNCATE, OP_ALLOCATE, OP_RENAME, OP_UNLINK,
       OP_MKDIR, OP_RMDIR, OP_MMAP, OP_FAILED, OP_UNKNOWN };
enum { BEGIN = 1, END = 2 };
enum { K_WRITE = 1, K_SYNC = 2, K_OPEN = 4, K_SIZE = 8, K_NAME = 16, K_MMAP = 32 };
enum { F_DSYNC = 1, F_CREATE = 2, F_TRUNCATE = 4, F_SHARED_WRITE = 8 };
#define SHORT_WRITE 10000

struct record {
    uint32_t size;
    uint8_t op, phase;
    uint16_t kind;
    int32_t pid, fd;
    uint32_t flags;
    int32_t error;
    uint64_t token;
    int64_t offset, length, result;
    uint32_t path_bytes, other_bytes;
} __attribute__((packed));

static char root[PATH_BYTES];
static size_t root_bytes;
static char nosync[256];
static unsigned slow_us;
static int trace_fd = -1;
static char *paths[FDS];
static uint8_t dsync[FDS];
static uint64_t tokens;
static int fail_kinds, fail_errno, fail_persist;
static int64_t fail_at;
static int64_t calls;
static int64_t fired;

#define REAL(ret, name, ...)                                       \
    static ret (*real_##name)(__VA_ARGS__);                        \
    if (!real_##name) real_##name = dlsym(RTLD_NEXT, #name)

/* ---- recording ------------------------------------------------------------------------- */

static void emit(struct record *r, const char *path, const char *other,
                 const struct iovec *data, int count) {
    if (trace_fd < 0) return;
    int saved = errno;
    struct iovec parts[3 + 64];
    int n = 0;
    size_t size = sizeof *r;
    r->pid = (int32_t)syscall(SYS_getpid);
    r->path_bytes = path ? (uint32_t)strlen(path) : 0;
    r->other_bytes = other ? (uint32_t)strlen(other) : 0;
    parts[n++] = (struct iovec){r, sizeof *r};
    if (path) parts[n++] = (struct iovec){(void *)path, r->path_bytes};
    if (other) parts[n++] = (struct iovec){(void *)other, r->other_bytes};
    size += r->path_bytes + r->other_bytes;
    char *joined = NULL;
    if (count > 64) {
        size_t total = 0, at = 0;
        for (int i = 0; i < count; i++) total += data[i].iov_len;
        joined = malloc(total ? total : 1);
        for (int i = 0; i < count; i++) {
            memcpy(joined + at, data[i].iov_base, data[i].iov_len);
            at += data[i].iov_len;
        }
        parts[n++] = (struct iovec){joined, total};
        size += total;
    } else {
        for (int i = 0; i < count; i++) {
            parts[n++] = data[i];
            size += data[i].iov_len;
        }
    }
    r->size = (uint32_t)size;
    if (syscall(SYS_writev, trace_fd, parts, n) != (long)size) {
        static const char lost[] = "power shim: the trace cannot be written\n";
        syscall(SYS_write, 2, lost, sizeof lost - 1);
        _exit(99);
    }
    free(joined);
    errno = saved;
}

static struct record begun(int op, int kind, int fd) {
    struct record r = {0};
    r.op = (uint8_t)op;
    r.phase = BEGIN;
    r.kind = (uint16_t)kind;
    r.fd = fd;
    r.token = __atomic_add_fetch(&tokens, 1, __ATOMIC_SEQ_CST);
    return r;
}

static void ended(struct record *r, int64_t result) {
    r->phase = END;
    r->result = result;
    r->error = result < 0 ? errno : 0;
    emit(r, NULL, NULL, NULL, 0);
}

static int tracked(int fd) {
    return trace_fd >= 0 && fd >= 0 && fd < FDS && paths[fd] != NULL;
}

/* The absolute path in `out`; whether it is below the root (or is the root). */
static int below(int dir, const char *path, char *out) {
    if (trace_fd < 0 || !path) return 0;
    if (path[0] == '/') {
        snprintf(out, PATH_BYTES, "%s", path);
    } else {
        char link[64], base[PATH_BYTES];
        if (dir == AT_FDCWD) {
            snprintf(link, sizeof link, "/proc/self/cwd");
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        }
        long got = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
        if (got <= 0) return 0;
        base[got] = 0;
        if (snprintf(out, PATH_BYTES, "%s/%s", base, path) >= PATH_BYTES) return 0;
    }
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') out[--n] = 0;
    return strncmp(out, root, root_bytes) == 0 && (out[root_bytes] == 0 || out[root_bytes] == '/');
}

/* The errno that this call is to fail with, SHORT_WRITE, or 0. */
static int injected(int kind) {
    if (!(fail_kinds & kind)) return 0;
    int64_t number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (fail_at <= 0 || number < fail_at || (number > fail_at && !fail_persist)) return 0;
    __atomic_add_fetch(&fired, 1, __ATOMIC_SEQ_CST);
    struct record r = begun(OP_FAILED, kind, -1);
    r.error = fail_errno;
    r.offset = number;
    emit(&r, NULL, NULL, NULL, 0);
    return fail_errno;
}

static int refused(int kind) {
    int error = injected(kind);
    if (error == 0 || error == SHORT_WRITE) return 0;
    errno = error;
    return 1;
}

/* ---- told from outside ------------------------------------------------------------------- */

void power_begin(const char *trace, const char *directory) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        perror("power shim: the trace cannot be opened");
        _exit(99);
    }
    trace_fd = fcntl(fd, F_DUPFD_CLOEXEC, 500);
    if (trace_fd < 0) trace_fd = fd;
    else syscall(SYS_close, fd);
    snprintf(root, sizeof root, "%s", directory);
    root_bytes = strlen(root);
}

/* Syncs of files whose path contains `without` are left out; all others take `slow` us longer. */
void power_syncs(const char *without, unsigned slow) {
    snprintf(nosync, sizeof nosync, "%s", without);
    slow_us = slow;
}

/* From now on the n-th call of these kinds fails (and, if persist, all after it). n = 0: count only. */
void power_fail(int kinds, int64_t n, int error, int persist) {
    fail_kinds = kinds;
    fail_at = n;
    fail_errno = error;
    fail_persist = persist;
    calls = fired = 0;
}

__attribute__((constructor)) static void start(void) {
    const char *trace = getenv("POWER_TRACE"), *directory = getenv("POWER_ROOT");
    const char *without = getenv("POWER_NOSYNC"), *fail = getenv("POWER_FAIL");
    const char *slow = getenv("POWER_SLOW");
    if (slow) slow_us = (unsigned)atoi(slow);
    if (without) snprintf(nosync, sizeof nosync, "%s", without);
    if (trace && directory) power_begin(trace, directory);
    int kinds, error, persist;
    long long n;
    if (fail && sscanf(fail, "%d:%lld:%d:%d", &kinds, &n, &error, &persist) == 4)
        power_fail(kinds, n, error, persist);
}

/* ---- opening ----------------------------------------------------------------------------- */

static int unsynced(const char *path) { return nosync[0] && strstr(path, nosync) != NULL; }

static int do_open(int dir, const char *path, int flags, mode_t mode) {
    REAL(int, openat64, int, const char *, int, ...);
    char whole[PATH_BYTES];
    if (!below(dir, path, whole)) return real_openat64(dir, path, flags, mode);
    struct record r = begun(OP_OPEN, K_OPEN, -1);
    int quiet = unsynced(whole);
    /* O_SYNC contains O_DSYNC. */
    if ((flags & O_DSYNC) && !quiet) r.flags |= F_DSYNC;
    if (flags & O_CREAT) r.flags |= F_CREATE;
    if (flags & O_TRUNC) r.flags |= F_TRUNCATE;
    if ((flags & O_TMPFILE) == O_TMPFILE) r.op = OP_UNKNOWN;
    emit(&r, whole, NULL, NULL, 0);
    int fd = refused(K_OPEN) ? -1 : real_openat64(dir, path, flags, mode);
    if (fd >= 0 && fd < FDS) {
        free(paths[fd]);
        paths[fd] = strdup(whole);
        dsync[fd] = (r.flags & F_DSYNC) != 0;
    }
    r.fd = fd;
    ended(&r, fd);
    return fd;
}

#define MODE_OF(flags)                                             \
    mode_t mode = 0;                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                         \
        va_list more;                                              \
        va_start(more, flags);                                     \
        mode = va_arg(more, mode_t);                               \
        va_end(more);                                              \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags); return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags); return do_open(AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE_OF(flags); return do_open(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE_OF(flags); return do_open(dir, path, flags, mode); }
int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __openat_2(int dir, const char *path, int flags) { return do_open(dir, path, flags, 0); }
int __openat64_2(int dir, const char *path, int flags) { return do_open(dir, path, flags, 0); }
int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

int close(int fd) {
    REAL(int, close, int);
    if (!tracked(fd)) return real_close(fd);
    struct record r = begun(OP_CLOSE, 0, fd);
    free(paths[fd]);
    paths[fd] = NULL;
    emit(&r, NULL, NULL, NULL, 0);
    return real_close(fd);
}

/* ---- writing ----------------------------------------------------------------------------- */

static ssize_t do_write(int fd, const struct iovec *data, int count, int64_t at, int rwf) {
    struct record r = begun(OP_WRITE, K_WRITE, fd);
    if ((dsync[fd] || (rwf & (RWF_DSYNC | RWF_SYNC))) && !unsynced(paths[fd])) r.flags |= F_DSYNC;
    int moves = at < 0;
    if (moves) {
        int mode = fcntl(fd, F_GETFL);
        struct stat told;
        if ((mode & O_APPEND) && fstat(fd, &told) == 0) at = told.st_size;
        else at = lseek(fd, 0, SEEK_CUR);
    }
    for (int i = 0; i < count; i++) r.length += (int64_t)data[i].iov_len;
    r.offset = at;
    emit(&r, NULL, NULL, data, count);
    int error = injected(K_WRITE);
    ssize_t result;
    if (error == SHORT_WRITE && r.length > 1) {
        /* Direct writes take aligned memory, and whole sectors. */
        char *some = NULL;
        if (posix_memalign((void **)&some, 4096, (size_t)r.length)) abort();
        size_t have = 0;
        for (int i = 0; i < count; i++) {
            memcpy(some + have, data[i].iov_base, data[i].iov_len);
            have += data[i].iov_len;
        }
        size_t half = (size_t)r.length / 2;
        if (half >= 512) half -= half % 512;
        result = moves ? syscall(SYS_write, fd, some, half) : syscall(SYS_pwrite64, fd, some, half, at);
        int saved = errno;
        free(some);
        errno = saved;
    } else if (error && error != SHORT_WRITE) {
        errno = error;
        result = -1;
    } else if (moves) {
        result = syscall(SYS_writev, fd, data, count);
    } else {
        result = syscall(SYS_pwritev2, fd, data, count, at, 0L, rwf);
    }
    ended(&r, result);
    return result;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (!tracked(fd)) return syscall(SYS_write, fd, data, size);
    struct iovec one = {(void *)data, size};
    return do_write(fd, &one, 1, -1, 0);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    if (!tracked(fd)) return syscall(SYS_pwrite64, fd, data, size, at);
    struct iovec one = {(void *)data, size};
    return do_write(fd, &one, 1, at, 0);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return pwrite(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *data, int count) {
    if (!tracked(fd)) return syscall(SYS_writev, fd, data, count);
    return do_write(fd, data, count, -1, 0);
}
ssize_t pwritev2(int fd, const struct iovec *data, int count, off_t at, int flags) {
    if (!tracked(fd)) return syscall(SYS_pwritev2, fd, data, count, at, 0L, flags);
    return do_write(fd, data, count, at, flags);
}
ssize_t pwritev64v2(int fd, const struct iovec *data, int count, off64_t at, int flags) {
    return pwritev2(fd, data, count, at, flags);
}
ssize_t pwritev(int fd, const struct iovec *data, int count, off_t at) { return pwritev2(fd, data, count, at, 0); }
ssize_t pwritev64(int fd, const struct iovec *data, int count, off64_t at) { return pwritev2(fd, data, count, at, 0); }

/* Ways to write that the model does not follow: recorded, so that it can say so. */
ssize_t sendfile(int out, int in, off_t *at, size_t count) {
    if (tracked(out)) { struct record r = begun(OP_UNKNOWN, 0, out); emit(&r, "sendfile", NULL, NULL, 0); }
    return syscall(SYS_sendfile, out, in, at, count);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t count) { return sendfile(out, in, at, count); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) {
    if (tracked(out)) { struct record r = begun(OP_UNKNOWN, 0, out); emit(&r, "copy_file_range", NULL, NULL, 0); }
    return syscall(SYS_copy_file_range, in, from, out, to, count, flags);
}
static void no_dup(int fd, const char *how) {
    if (tracked(fd)) { struct record r = begun(OP_UNKNOWN, 0, fd); emit(&r, how, NULL, NULL, 0); }
}
int dup(int fd) { no_dup(fd, "dup"); return (int)syscall(SYS_dup, fd); }
int dup2(int fd, int to) { REAL(int, dup2, int, int); no_dup(fd, "dup2"); return real_dup2(fd, to); }
int dup3(int fd, int to, int flags) { no_dup(fd, "dup3"); return (int)syscall(SYS_dup3, fd, to, flags); }

/* ---- syncing ----------------------------------------------------------------------------- */

static int do_sync(int fd, long number) {
    if (!tracked(fd)) return (int)syscall(number, fd);
    if (unsynced(paths[fd])) return 0;
    struct record r = begun(OP_SYNC, K_SYNC, fd);
    emit(&r, NULL, NULL, NULL, 0);
    if (slow_us) usleep(slow_us);
    int result = refused(K_SYNC) ? -1 : (int)syscall(number, fd);
    ended(&r, result);
    return result;
}
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }
int fsync(int fd) { return do_sync(fd, SYS_fsync); }
/* It promises nothing about the disk's cache or the size of the file: not a sync here. */
int sync_file_range(int fd, off64_t at, off64_t size, unsigned flags) {
    if (tracked(fd) && refused(K_SYNC)) return -1;
    return (int)syscall(SYS_sync_file_range, fd, at, size, flags);
}
/* Nothing of ours is written through a map. */
int msync(void *at, size_t size, int flags) {
    if (trace_fd >= 0 && refused(K_SYNC)) return -1;
    return (int)syscall(SYS_msync, at, size, flags);
}

/* ---- sizes ------------------------------------------------------------------------------- */

int ftruncate(int fd, off_t size) {
    if (!tracked(fd)) return (int)syscall(SYS_ftruncate, fd, size);
    struct record r = begun(OP_TRUNCATE, K_SIZE, fd);
    r.length = size;
    emit(&r, NULL, NULL, NULL, 0);
    int result = refused(K_SIZE) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
    ended(&r, result);
    return result;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t at, off_t size) {
    if (!tracked(fd)) return (int)syscall(SYS_fallocate, fd, mode, at, size);
    struct record r = begun(mode ? OP_UNKNOWN : OP_ALLOCATE, K_SIZE, fd);
    r.offset = at;
    r.length = size;
    emit(&r, NULL, NULL, NULL, 0);
    int result = refused(K_SIZE) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, size);
    ended(&r, result);
    return result;
}
int fallocate64(int fd, int mode, off64_t at, off64_t size) { return fallocate(fd, mode, at, size); }
int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(int, posix_fallocate, int, off_t, off_t);
    if (!tracked(fd)) return real_posix_fallocate(fd, at, size);
    int saved = errno;
    int error = fallocate(fd, 0, at, size) ? errno : 0;
    errno = saved;
    return error;
}
int posix_fallocate64(int fd, off64_t at, off64_t size) { return posix_fallocate(fd, at, size); }

/* ---- names ------------------------------------------------------------------------------- */

static int named(int op, int dir, const char *path, int other_dir, const char *other, long number,
                 long a, long b, long c, long d, long e) {
    char whole[PATH_BYTES], second[PATH_BYTES];
    int in = below(dir, path, whole);
    if (other && below(other_dir, other, second)) in = 1;
    else second[0] = 0;
    if (!in) return (int)syscall(number, a, b, c, d, e);
    struct record r = begun(op, K_NAME, -1);
    emit(&r, whole, other ? second : NULL, NULL, 0);
    int result = refused(K_NAME) ? -1 : (int)syscall(number, a, b, c, d, e);
    ended(&r, result);
    return result;
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    return named(flags ? OP_UNKNOWN : OP_RENAME, from, old, to, new, SYS_renameat2, from, (long)old, to,
                 (long)new, flags);
}
int renameat(int from, const char *old, int to, const char *new) { return renameat2(from, old, to, new, 0); }
int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }
int unlinkat(int dir, const char *path, int flags) {
    return named(flags & AT_REMOVEDIR ? OP_RMDIR : OP_UNLINK, dir, path, 0, NULL, SYS_unlinkat, dir,
                 (long)path, flags, 0, 0);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int dir, const char *path, mode_t mode) {
    return named(OP_MKDIR, dir, path, 0, NULL, SYS_mkdirat, dir, (long)path, mode, 0, 0);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
int linkat(int from, const char *old, int to, const char *new, int flags) {
    return named(OP_UNKNOWN, from, old, to, new, SYS_linkat, from, (long)old, to, (long)new, flags);
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

/* ---- maps -------------------------------------------------------------------------------- */

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (tracked(fd)) {
        struct record r = begun(OP_MMAP, K_MMAP, fd);
        if ((flags & MAP_SHARED) && (protection & PROT_WRITE)) r.flags |= F_SHARED_WRITE;
        emit(&r, paths[fd], NULL, NULL, 0);
        if (refused(K_MMAP)) return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
    return mmap(at, size, protection, flags, fd, offset);
}
