/* Files and folders. See base/file.h. */
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int system_error(Error *error, const char *verb, const char *path) {
    return error_set(error, ERROR_RUN, "cannot %s %s: %s", verb, path, strerror(errno));
}

int file_read(uint8_t **bytes, size_t *count, const char *path, size_t limit, Error *error) {
    *bytes = NULL;
    *count = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return system_error(error, "read", path);
    struct stat about;
    int result = 0;
    if (fstat(file, &about))
        result = system_error(error, "read", path);
    else if (!S_ISREG(about.st_mode))
        result = error_set(error, ERROR_RUN, "cannot read %s: it is not a plain file", path);
    else if ((uint64_t)about.st_size > limit)
        result = error_set(error, ERROR_RUN, "%s has %lld bytes, more than the %zu allowed", path,
                           (long long)about.st_size, limit);
    if (!result) {
        size_t size = (size_t)about.st_size, got = 0;
        uint8_t *buffer = memory_new(size + 1, 1);
        while (got < size) {
            ssize_t n = read(file, buffer + got, size - got);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                result = system_error(error, "read", path);
            if (n <= 0)
                break;
            got += (size_t)n;
        }
        buffer[got] = 0;
        *bytes = buffer;
        *count = got;
        if (result) {
            free(buffer);
            *bytes = NULL;
        }
    }
    close(file);
    return result;
}

int file_writer_open(FileWriter *writer, const char *path, Error *error) {
    writer->path = memory_text("%s", path);
    writer->partial = memory_text("%s.partial", path);
    writer->stream = fopen(writer->partial, "wbe");
    if (!writer->stream) {
        system_error(error, "write", writer->partial);
        free(writer->path);
        free(writer->partial);
        memset(writer, 0, sizeof *writer);
        return -1;
    }
    return 0;
}

int file_writer_put(FileWriter *writer, const void *bytes, size_t count, Error *error) {
    if (count && fwrite(bytes, 1, count, writer->stream) != count)
        return system_error(error, "write", writer->partial);
    return 0;
}

void file_writer_abandon(FileWriter *writer) {
    if (writer->stream)
        fclose(writer->stream);
    if (writer->partial)
        unlink(writer->partial);
    free(writer->path);
    free(writer->partial);
    memset(writer, 0, sizeof *writer);
}

int file_writer_commit(FileWriter *writer, Error *error) {
    int result = 0;
    if (ferror(writer->stream)) /* the reason is no longer known */
        result = error_set(error, ERROR_RUN, "cannot write %s: a write failed: is the disk full?",
                           writer->partial);
    else if (fflush(writer->stream) || fsync(fileno(writer->stream)))
        result = system_error(error, "write", writer->partial);
    FILE *stream = writer->stream;
    writer->stream = NULL;
    if (fclose(stream) && !result)
        result = system_error(error, "write", writer->partial);
    if (!result && rename(writer->partial, writer->path))
        result = error_set(error, ERROR_RUN, "cannot rename %s to %s: %s", writer->partial,
                           writer->path, strerror(errno));
    if (result) {
        file_writer_abandon(writer);
        return result;
    }
    char *folder = path_folder(writer->path);
    result = folder_sync(folder, error);
    free(folder);
    free(writer->path);
    free(writer->partial);
    memset(writer, 0, sizeof *writer);
    return result;
}

int file_write(const char *path, const void *bytes, size_t count, Error *error) {
    FileWriter writer;
    if (file_writer_open(&writer, path, error))
        return -1;
    if (file_writer_put(&writer, bytes, count, error)) {
        file_writer_abandon(&writer);
        return -1;
    }
    return file_writer_commit(&writer, error);
}

bool file_exists(const char *path) {
    struct stat about;
    return !stat(path, &about) && !S_ISDIR(about.st_mode);
}

bool folder_exists(const char *path) {
    struct stat about;
    return !stat(path, &about) && S_ISDIR(about.st_mode);
}

int folder_make(const char *path, Error *error) {
    if (!*path)
        return error_set(error, ERROR_RUN, "cannot make a folder without a name");
    char *partial = memory_text("%s", path);
    int result = 0;
    for (char *at = partial + 1; !result; at++) {
        if (*at && *at != '/')
            continue;
        char kept = *at;
        *at = 0;
        if (!folder_exists(partial) && mkdir(partial, 0777) && errno != EEXIST)
            result = system_error(error, "make the folder", partial);
        else if (!folder_exists(partial))
            result = error_set(error, ERROR_RUN, "cannot make the folder %s: a file has that name",
                               partial);
        *at = kept;
        if (!kept)
            break;
    }
    free(partial);
    return result;
}

int folder_sync(const char *path, Error *error) {
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return system_error(error, "open the folder", path);
    int result = 0;
    /* some network file systems cannot sync folders; they say EINVAL */
    if (fsync(folder) && errno != EINVAL)
        result = system_error(error, "flush the folder", path);
    close(folder);
    return result;
}

int folder_remove(const char *path, Error *error) {
    DIR *folder = opendir(path);
    if (!folder)
        return system_error(error, "read the folder", path);
    int result = 0;
    for (struct dirent *entry; !result && (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char *inside = path_join(path, entry->d_name);
        if (unlink(inside))
            result = system_error(error, "remove", inside);
        free(inside);
    }
    closedir(folder);
    if (!result && rmdir(path))
        result = system_error(error, "remove the folder", path);
    return result;
}

static int partial_there(const char *partial, Error *error) {
    return error_set(error, ERROR_RUN,
                     "%s is in the way, perhaps left by a program that was stopped: remove it",
                     partial);
}

static bool is_there(const char *path) {
    struct stat about;
    return !lstat(path, &about);
}

int folder_check(const char *path, Error *error) {
    char *own = path_trim(path), *partial = memory_text("%s.partial", own);
    char *above = path_folder(own);
    int result = 0;
    if (!*own)
        result = error_set(error, ERROR_USAGE, "a folder without a name cannot be made");
    else if (is_there(own))
        result = error_set(error, ERROR_USAGE,
                           "%s is there already: remove it or choose another name", own);
    else if (is_there(partial))
        result = partial_there(partial, error);
    while (!result && !is_there(above)) { /* up to the first folder that is there */
        char *next = path_folder(above);
        free(above);
        above = next;
    }
    if (!result && !folder_exists(above))
        result = error_set(error, ERROR_USAGE, "cannot make %s: %s is a file", own, above);
    else if (!result && access(above, W_OK | X_OK))
        result = error_set(error, ERROR_USAGE, "cannot make %s: cannot write into %s: %s", own,
                           above, strerror(errno));
    free(own);
    free(partial);
    free(above);
    return result;
}

char *folder_begin(const char *path, Error *error) {
    char *partial = memory_text("%s.partial", path);
    int result = 0;
    if (folder_exists(partial) || file_exists(partial))
        result = partial_there(partial, error);
    else
        result = folder_make(partial, error);
    if (!result)
        return partial;
    free(partial);
    return NULL;
}

int folder_end(char *partial, const char *path, int result, Error *error) {
    if (!result)
        result = folder_sync(partial, error);
    if (!result && rename(partial, path))
        result = error_set(error, ERROR_RUN, "cannot rename %s to %s: %s", partial, path,
                           strerror(errno));
    if (result) {
        folder_remove(partial, NULL);
    } else {
        char *above = path_folder(path);
        result = folder_sync(above, error);
        free(above);
    }
    free(partial);
    return result;
}

char *path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    if (name[0] == '/' || !length || !strcmp(folder, "."))
        return memory_text("%s", name);
    return memory_text("%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

const char *path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *path_trim(const char *path) {
    size_t length = strlen(path); /* a shell's completion ends folders with a slash */
    while (length > 1 && path[length - 1] == '/')
        length--;
    return memory_text("%.*s", (int)length, path);
}

char *path_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return memory_text(".");
    return slash == path ? memory_text("/") : memory_text("%.*s", (int)(slash - path), path);
}

bool path_within(const char *path, const char *folder) {
    char *around = folder_exists(folder) ? realpath(folder, NULL) : NULL, *inner = NULL;
    char *ancestor = memory_text("%s", path); /* the first one above `path` that exists */
    while (around && !(inner = realpath(ancestor, NULL)) && strcmp(ancestor, ".")) {
        char *above = path_folder(ancestor);
        free(ancestor);
        ancestor = above;
    }
    size_t length = around ? strlen(around) : 0;
    if (length && around[length - 1] == '/')
        length--; /* the root */
    bool within = around && inner && !strncmp(inner, around, length) &&
                  (!inner[length] || inner[length] == '/');
    free(ancestor);
    free(around);
    free(inner);
    return within;
}

int lock_take(const char *path, Error *error) {
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0)
        return system_error(error, "open the lock", path);
    if (flock(lock, LOCK_EX | LOCK_NB)) {
        int reason = errno;
        char holder[32] = "";
        ssize_t got = pread(lock, holder, sizeof holder - 1, 0);
        holder[got > 0 ? strspn(holder, "0123456789") : 0] = 0;
        close(lock);
        if (reason != EWOULDBLOCK)
            return error_set(error, ERROR_RUN, "cannot lock %s: %s", path, strerror(reason));
        return error_set(error, ERROR_RUN, "%s is held by process %s: wait for it or stop it", path,
                         *holder ? holder : "(unknown)");
    }
    char own[32];
    int length = snprintf(own, sizeof own, "%ld\n", (long)getpid());
    if (ftruncate(lock, 0) || pwrite(lock, own, (size_t)length, 0) != length) {
        system_error(error, "write the lock", path);
        close(lock);
        return -1;
    }
    return lock;
}

void lock_release(int lock) {
    if (lock >= 0)
        close(lock);
}

long lock_holder(const char *path) {
    struct stat about;
    char line[256];
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    bool named = !fstat(fileno(file), &about) && fgets(line, sizeof line, file);
    long holder = named ? strtol(line, NULL, 10) : 0;
    fclose(file);
    /* "1: FLOCK  ADVISORY  WRITE 906 fe:00:11936354 0 EOF"; devices have other numbers there on
     * some file systems, so process and inode have to do */
    FILE *locks = holder > 0 ? fopen("/proc/locks", "re") : NULL;
    bool held = false;
    while (locks && !held && fgets(line, sizeof line, locks)) {
        long process;
        unsigned long inode;
        held = sscanf(line, "%*s FLOCK %*s WRITE %ld %*x:%*x:%lu", &process, &inode) == 2 &&
               process == holder && inode == (unsigned long)about.st_ino;
    }
    if (locks)
        fclose(locks);
    return held ? holder : 0;
}
