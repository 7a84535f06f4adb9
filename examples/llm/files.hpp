// SPDX-License-Identifier: MIT
/// Small files: whole text, JSON, written under a temporary name and renamed.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace llm {

/// The bytes of a file; throws nsvd::error naming it.
[[nodiscard]] std::string read_file(const std::filesystem::path& path);

/// The path that `path` names: absolute, links followed (those to nothing, too), without the slash at the end
/// that would leave an empty file name.
[[nodiscard]] std::filesystem::path resolved(const std::filesystem::path& path);

/// A JSON file that holds an object; throws nsvd::error naming the file.
[[nodiscard]] nlohmann::ordered_json read_json(const std::filesystem::path& path);

/// Writes a file that appears under its name when it is complete (nsvd::atomic_file).
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// Where a result goes: a file (nsvd::atomic_file), standard output for "-", nowhere for an empty path. The
/// place is tried out at once, so that a long run doesn't fail at its end.
class output {
public:
    explicit output(std::filesystem::path path);
    void write(std::string_view text) const;
    [[nodiscard]] bool is_standard_output() const { return path_ == "-"; }

private:
    std::filesystem::path path_;
};

}  // namespace llm
