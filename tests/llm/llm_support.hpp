// SPDX-License-Identifier: MIT
// What the tests of the application share.
#pragma once

#include <nsvd/error.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <unistd.h>

namespace llm_test {

/// An empty folder that is removed at the end.
class scratch {
public:
    scratch() {
        static std::atomic<int> count = 0;
        path_ = std::filesystem::temp_directory_path() /
                ("nsvd-llm-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directory(path_);
    }
    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;
    ~scratch() { std::filesystem::remove_all(path_); }

    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

inline std::filesystem::path write(const std::filesystem::path& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path;
}

inline std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The message of the nsvd::error that `call` throws, or "" when it throws none.
template <class Call>
std::string error_of(const Call& call) {
    try {
        call();
    } catch (const nsvd::error& e) {
        return e.what();
    }
    return "";
}

}  // namespace llm_test
