// SPDX-License-Identifier: MIT
// What the tests of the application share.
#pragma once

#include "support/scratch_folder.hpp"

#include <nsvd/error.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace llm_test {

using scratch = support::scratch_folder;

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
