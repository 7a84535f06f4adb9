// SPDX-License-Identifier: MIT
/// Reading and writing at a place of a file (POSIX), for files that are not written from front to back.
#pragma once

#include "../error.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <span>
#include <string>
#include <sys/types.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace nsvd::inline NSVD_ABI {

namespace detail {

/// Throws what `errno` says of the file of that name.
[[noreturn]] inline void throw_file_error(const std::filesystem::path& path, const char* what, int number) {
    throw error(path.string() + ": " + what + ": " + std::generic_category().message(number));
}

/// Writes all bytes; throws nsvd::error where that fails.
inline void write_at(int descriptor, const std::filesystem::path& path, std::uint64_t offset,
                     std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto written = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) throw_file_error(path, "cannot be written", errno);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        offset += static_cast<std::uint64_t>(written);
    }
}

/// Reads all bytes; throws nsvd::error where that fails.
inline void read_at(int descriptor, const std::filesystem::path& path, std::uint64_t offset,
                    std::span<std::byte> bytes) {
    while (!bytes.empty()) {
        const auto read = ::pread(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (read < 0 && errno == EINTR) continue;
        if (read <= 0) throw_file_error(path, "cannot be read", read < 0 ? errno : EIO);
        bytes = bytes.subspan(static_cast<std::size_t>(read));
        offset += static_cast<std::uint64_t>(read);
    }
}

/// Makes the file that long, of zeros, on blocks that are there; throws nsvd::error where the disk has no
/// room.
inline void reserve(int descriptor, const std::filesystem::path& path, std::uint64_t size) {
    int failure = 0;
    do
        failure = ::posix_fallocate(descriptor, 0, static_cast<off_t>(size));
    while (failure == EINTR);
    // Some file systems can't promise anything.
    if (failure == EOPNOTSUPP || failure == EINVAL)
        failure = ::ftruncate(descriptor, static_cast<off_t>(size)) == 0 ? 0 : errno;
    if (failure != 0)
        throw_file_error(path, ("no room for " + std::to_string(size) + " bytes").c_str(), failure);
}

}  // namespace detail

/// A file without a name, gone with the process or with this (POSIX): numbers that memory has no room for.
class scratch_file {
public:
    /// In that folder, which should not be one that lies in memory (tmpfs). Throws nsvd::error where there is
    /// no room for `size` bytes, or the folder can't be written to.
    scratch_file(const std::filesystem::path& folder, std::uint64_t size) : path_(folder / "nsvd-XXXXXX") {
        std::string name = path_.string();
        descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
        if (descriptor_ < 0) detail::throw_file_error(path_, "cannot be written", errno);
        ::unlink(name.c_str());
        try {
            detail::reserve(descriptor_, path_, size);
        } catch (...) {
            ::close(descriptor_);
            throw;
        }
    }
    scratch_file(const scratch_file&) = delete;
    scratch_file& operator=(const scratch_file&) = delete;
    ~scratch_file() { ::close(descriptor_); }

    /// Throws nsvd::error where it can't be written.
    void write(std::uint64_t offset, std::span<const std::byte> bytes) {
        detail::write_at(descriptor_, path_, offset, bytes);
    }
    /// Throws nsvd::error where it can't be read.
    void read(std::uint64_t offset, std::span<std::byte> bytes) const {
        detail::read_at(descriptor_, path_, offset, bytes);
    }

private:
    std::filesystem::path path_;
    int descriptor_ = -1;
};

}  // namespace nsvd::inline NSVD_ABI
