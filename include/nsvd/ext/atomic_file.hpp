// SPDX-License-Identifier: MIT
#pragma once

#include "../error.hpp"
#include "file_access.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <span>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace nsvd::inline NSVD_ABI {

namespace detail {

/// The result of a system call, made again while a signal interrupts it.
template <class Call>
auto uninterrupted(const Call& call) {
    auto result = call();
    while (result < 0 && errno == EINTR)
        result = call();
    return result;
}

}  // namespace detail

/// Flushes a file, or the names in a folder, to the disk: what is there then survives a loss of power
/// (POSIX). Throws nsvd::error where that fails; folders that may not be read or that the file system does
/// not flush are left to it.
inline void flush_to_disk(const std::filesystem::path& path) {
    const int descriptor = detail::uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
    const bool flushed = descriptor >= 0 && detail::uninterrupted([&] { return ::fsync(descriptor); }) == 0;
    const int reason = errno;
    if (descriptor >= 0) ::close(descriptor);
    if (flushed || reason == EACCES || reason == EINVAL || reason == ENOTSUP) return;
    throw error(path.string() +
                ": cannot be flushed to the disk: " + std::generic_category().message(reason));
}

/// A file that is either completely written or not there (POSIX).
///
/// Bytes go to a temporary name in the same folder; `commit` flushes them to the disk, renames, and flushes
/// the new name. Without `commit` the temporary is removed and a file that was there before is untouched: a
/// process that is killed or loses its power leaves the file that was there, or the whole new one, and at
/// most a temporary beside it. Everything that fails (full disk, read-only folder, a target that is no
/// regular file) throws nsvd::error, which names the target.
class atomic_file {
public:
    /// Begins a file of that name; throws nsvd::error where it can't.
    explicit atomic_file(std::filesystem::path path) : path_(std::move(path)) {
        std::error_code ignored;
        const auto status = std::filesystem::status(path_, ignored);
        if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
            throw error(path_.string() + ": not a regular file: give the name of a file");
        for (int attempt = 0; descriptor_ < 0; ++attempt) {
            temporary_ = path_;
            temporary_ += std::string(".").append(std::to_string(::getpid()));
            temporary_ += std::string("-").append(std::to_string(attempt)).append(".partial");
            descriptor_ = detail::uninterrupted(
                [&] { return ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
            if (descriptor_ < 0 && (errno != EEXIST || attempt == 99)) fail("cannot be written");
        }
    }

    atomic_file(const atomic_file&) = delete;
    atomic_file& operator=(const atomic_file&) = delete;

    ~atomic_file() {
        if (descriptor_ < 0) return;
        ::close(descriptor_);
        ::unlink(temporary_.c_str());
    }

    /// Appends bytes.
    void write(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto written =
                detail::uninterrupted([&] { return ::write(descriptor_, bytes.data(), bytes.size()); });
            if (written == 0) errno = EIO;
            if (written <= 0) fail("cannot be written");
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        }
    }

    /// Makes it that long, of zeros, to be filled in any order; throws where the disk has no room.
    void reserve(std::uint64_t size) { detail::reserve(descriptor_, path_, size); }
    /// Writes at a place of it.
    void write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
        detail::write_at(descriptor_, path_, offset, bytes);
    }
    /// Reads what was written.
    void read_at(std::uint64_t offset, std::span<std::byte> bytes) const {
        detail::read_at(descriptor_, path_, offset, bytes);
    }

    /// Flushes and gives the file its name; nothing can be written afterwards. Where it throws because the
    /// name cannot be flushed, the file is complete and has it.
    void commit() {
        if (detail::uninterrupted([&] { return ::fsync(descriptor_); }) != 0 ||
            std::rename(temporary_.c_str(), path_.c_str()) != 0)
            fail("cannot be written");
        ::close(std::exchange(descriptor_, -1));
        flush_to_disk(path_.has_parent_path() ? path_.parent_path() : ".");
    }

private:
    [[noreturn]] void fail(const char* what) const { detail::throw_file_error(path_, what, errno); }

    std::filesystem::path path_;
    std::filesystem::path temporary_;
    int descriptor_ = -1;
};

}  // namespace nsvd::inline NSVD_ABI
