// SPDX-License-Identifier: MIT
// System calls that fail on request: a library for LD_PRELOAD (Linux). It looks at calls on files below one
// folder, which environment variables name:
//
//   FAULTS_UNDER   the folder, absolute; without it nothing happens
//   FAULTS_LOG     a file that gets a line "CALL NUMBER PATH" for each fault, and "CALL COUNT" for each kind
//   of
//                  call at the end
//   FAULTS_CALL    the kind of call that fails: one of `kinds` below, the last of which is all of them
//   FAULTS_AT      the number of the first one that does, from 1
//   FAULTS_TIMES   how many do, one after the other; 0: all from there on (1)
//   FAULTS_ERROR   the errno, a number; 0: no error, but only half of what was asked for (read, write, copy);
//                  −n: signal n, and then the call
//
// The names that a program calls are given to functions of other names by __asm__, so that no declaration of
// the C library is in their way.
#include <climits>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <unistd.h>

namespace {

enum kind {
    open_,
    create,
    read_,
    write_,
    sync_,
    rename_,
    remove_,
    mkdir_,
    map_,
    lock_,
    stat_,
    list,
    copy,
    mode,
    any
};
constexpr std::array<const char*, 15> kinds{"open",   "create", "read",  "write", "sync",
                                            "rename", "remove", "mkdir", "map",   "lock",
                                            "stat",   "list",   "copy",  "mode",  "any"};

/// The function that the program would have called.
template <class Function>
Function* next(Function* /*own*/, const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

extern "C" {
int faults_open(const char* path, int flags, ...) __asm__("open");
int faults_open64(const char* path, int flags, ...) __asm__("open64");
ssize_t faults_write(int file, const void* bytes, size_t count) __asm__("write");
}

std::string text_of(const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr ? value : "";
}

long number_of(const char* variable, long otherwise) {
    const auto text = text_of(variable);
    return text.empty() ? otherwise : std::strtol(text.c_str(), nullptr, 10);
}

struct plan {
    std::string under = text_of("FAULTS_UNDER"), log = text_of("FAULTS_LOG"), call = text_of("FAULTS_CALL");
    long at = number_of("FAULTS_AT", 1), times = number_of("FAULTS_TIMES", 1);
    int error = static_cast<int>(number_of("FAULTS_ERROR", 0));
    std::array<std::atomic<long>, kinds.size()> counts{};

    plan() {
        if (!under.empty() && under.back() != '/') under += '/';
    }
    ~plan() {
        if (under.empty()) return;
        for (std::size_t i = 0; i < kinds.size(); ++i)
            note(std::string(kinds[i]) + " " + std::to_string(counts[i]) + "\n");
    }

    void note(const std::string& line) const {
        if (log.empty()) return;
        const int file =
            next(&faults_open, "open")(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (file < 0) return;
        (void)next(&faults_write, "write")(file, line.data(), line.size());
        ::close(file);
    }
};

plan& the_plan() {
    static plan p;
    return p;
}

std::string link_target(const std::string& link) {
    std::array<char, PATH_MAX> target;
    const auto size = ::readlink(link.c_str(), target.data(), target.size());
    return size < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(size));
}

std::string path_of(int file) {
    return link_target("/proc/self/fd/" + std::to_string(file));
}

std::string path_of(const char* path, int folder = AT_FDCWD) {
    if (path == nullptr) return {};
    if (*path == '/') return path;
    return (folder == AT_FDCWD ? link_target("/proc/self/cwd") : path_of(folder)) + "/" + path;
}

enum class outcome { as_it_is, failed, partial };

/// What becomes of a call; errno is set where it fails.
outcome fate(kind k, const std::string& path) {
    auto& p = the_plan();
    if (p.under.empty() || !(path + "/").starts_with(p.under) || path == p.log) return outcome::as_it_is;
    const long among_all = ++p.counts[any], of_kind = ++p.counts[k];
    const bool all = p.call == kinds[any];
    const long number = all ? among_all : of_kind;
    if ((!all && p.call != kinds[k]) || number < p.at || (p.times != 0 && number >= p.at + p.times))
        return outcome::as_it_is;
    p.note(std::string(kinds[k]) + " " + std::to_string(number) + " " + path + "\n");
    if (p.error < 0) {
        ::kill(::getpid(), -p.error);
        return outcome::as_it_is;
    }
    errno = p.error;
    return p.error == 0 ? outcome::partial : outcome::failed;
}

bool fails(kind k, const std::string& path) {
    return fate(k, path) == outcome::failed;
}

kind kind_of(int flags) {
    if ((flags & O_DIRECTORY) != 0) return list;
    return (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0 ? create : open_;
}

/// Less than was asked for, and more than nothing.
std::size_t part_of(std::size_t count) {
    return count > 1 ? count / 2 : count;
}

}  // namespace

extern "C" {

#define FAULTS_OPEN(name)                                                                  \
    int faults_##name(const char* path, int flags, ...) {                                  \
        std::va_list list;                                                                 \
        va_start(list, flags);                                                             \
        const auto bits = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                                      \
        if (fails(kind_of(flags), path_of(path))) return -1;                               \
        return next(&faults_##name, #name)(path, flags, bits);                             \
    }
FAULTS_OPEN(open)
FAULTS_OPEN(open64)

#define FAULTS_OPENAT(name)                                                                \
    int faults_##name(int folder, const char* path, int flags, ...) __asm__(#name);        \
    int faults_##name(int folder, const char* path, int flags, ...) {                      \
        std::va_list list;                                                                 \
        va_start(list, flags);                                                             \
        const auto bits = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                                      \
        if (fails(kind_of(flags), path_of(path, folder))) return -1;                       \
        return next(&faults_##name, #name)(folder, path, flags, bits);                     \
    }
FAULTS_OPENAT(openat)
FAULTS_OPENAT(openat64)

/// A call that fails with `failure` or is made.
#define FAULTS(type, name, parameters, arguments, kind, path, failure) \
    type faults_##name parameters __asm__(#name);                      \
    type faults_##name parameters {                                    \
        if (fails(kind, path)) return failure;                         \
        return next(&faults_##name, #name) arguments;                  \
    }
/// A call that may be made with a smaller count.
#define FAULTS_COUNTED(name, parameters, arguments, kind, file) \
    ssize_t faults_##name parameters __asm__(#name);            \
    ssize_t faults_##name parameters {                          \
        const auto what = fate(kind, path_of(file));            \
        if (what == outcome::failed) return -1;                 \
        if (what == outcome::partial) count = part_of(count);   \
        return next(&faults_##name, #name) arguments;           \
    }

FAULTS(FILE*, fopen, (const char* path, const char* way), (path, way), *way == 'r' ? open_ : create,
       path_of(path), nullptr)
FAULTS(FILE*, fopen64, (const char* path, const char* way), (path, way), *way == 'r' ? open_ : create,
       path_of(path), nullptr)
FAULTS_COUNTED(read, (int file, void* bytes, size_t count), (file, bytes, count), read_, file)
FAULTS_COUNTED(pread, (int file, void* bytes, size_t count, off_t at), (file, bytes, count, at), read_, file)
FAULTS_COUNTED(pread64, (int file, void* bytes, size_t count, off_t at), (file, bytes, count, at), read_,
               file)
FAULTS_COUNTED(write, (int file, const void* bytes, size_t count), (file, bytes, count), write_, file)
FAULTS_COUNTED(pwrite, (int file, const void* bytes, size_t count, off_t at), (file, bytes, count, at),
               write_, file)
FAULTS_COUNTED(pwrite64, (int file, const void* bytes, size_t count, off_t at), (file, bytes, count, at),
               write_, file)
FAULTS_COUNTED(sendfile, (int to, int from, off_t* at, size_t count), (to, from, at, count), copy, to)
FAULTS_COUNTED(sendfile64, (int to, int from, off_t* at, size_t count), (to, from, at, count), copy, to)
FAULTS_COUNTED(copy_file_range, (int from, off_t* at, int to, off_t* place, size_t count, unsigned flags),
               (from, at, to, place, count, flags), copy, to)
FAULTS(int, fsync, (int file), (file), sync_, path_of(file), -1)
FAULTS(int, fdatasync, (int file), (file), sync_, path_of(file), -1)
FAULTS(int, rename, (const char* from, const char* to), (from, to), rename_, path_of(to), -1)
FAULTS(int, unlink, (const char* path), (path), remove_, path_of(path), -1)
FAULTS(int, unlinkat, (int folder, const char* path, int flags), (folder, path, flags), remove_,
       path_of(path, folder), -1)
FAULTS(int, remove, (const char* path), (path), remove_, path_of(path), -1)
FAULTS(int, rmdir, (const char* path), (path), remove_, path_of(path), -1)
FAULTS(int, mkdir, (const char* path, mode_t bits), (path, bits), mkdir_, path_of(path), -1)
FAULTS(void*, mmap, (void* at, size_t size, int access, int flags, int file, off_t offset),
       (at, size, access, flags, file, offset), map_, file < 0 ? std::string() : path_of(file),
       reinterpret_cast<void*>(-1))
FAULTS(void*, mmap64, (void* at, size_t size, int access, int flags, int file, off_t offset),
       (at, size, access, flags, file, offset), map_, file < 0 ? std::string() : path_of(file),
       reinterpret_cast<void*>(-1))
FAULTS(int, flock, (int file, int what), (file, what), lock_, path_of(file), -1)
FAULTS(int, stat, (const char* path, void* result), (path, result), stat_, path_of(path), -1)
FAULTS(int, stat64, (const char* path, void* result), (path, result), stat_, path_of(path), -1)
FAULTS(int, lstat, (const char* path, void* result), (path, result), stat_, path_of(path), -1)
FAULTS(int, lstat64, (const char* path, void* result), (path, result), stat_, path_of(path), -1)
FAULTS(int, fstat, (int file, void* result), (file, result), stat_, path_of(file), -1)
FAULTS(int, fstat64, (int file, void* result), (file, result), stat_, path_of(file), -1)
FAULTS(void*, fdopendir, (int file), (file), list, path_of(file), nullptr)
FAULTS(int, fchmod, (int file, mode_t bits), (file, bits), mode, path_of(file), -1)

}  // extern "C"
