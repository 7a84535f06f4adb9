// SPDX-License-Identifier: MIT
/// A place for the files of a test.
#pragma once

#include <atomic>
#include <filesystem>
#include <iterator>
#include <string>
#include <unistd.h>

namespace support {

/// An empty folder that is removed at the end.
class scratch_folder {
public:
    scratch_folder() {
        static std::atomic<int> count = 0;
        path_ = std::filesystem::temp_directory_path() /
                ("nsvd-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directory(path_);
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    ~scratch_folder() { std::filesystem::remove_all(path_); }

    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Files and folders in it.
    [[nodiscard]] long entries() const {
        return std::distance(std::filesystem::directory_iterator(path_), {});
    }

private:
    std::filesystem::path path_;
};

}  // namespace support
