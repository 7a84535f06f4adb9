// SPDX-License-Identifier: MIT
#include "files.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/atomic_file.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <span>
#include <system_error>
#include <utility>

namespace llm {

std::filesystem::path resolved(const std::filesystem::path& path) {
    auto target = std::filesystem::absolute(path);
    constexpr int most_links = 40;  // as the system has it; more are a loop, which weakly_canonical refuses
    for (int i = 0; i < most_links && std::filesystem::is_symlink(target); ++i)
        target = target.parent_path() / std::filesystem::read_symlink(target);
    const auto result = std::filesystem::weakly_canonical(target);
    return result.has_filename() ? result : result.parent_path();
}

std::string read_file(const std::filesystem::path& path) {
    const auto failure = [&](const std::string& why) {
        return nsvd::error(path.string() + ": cannot be read: " + why);
    };
    std::error_code unknown;  // opening says more
    if (std::filesystem::is_directory(path, unknown)) throw failure("it is a folder");
    std::ifstream in;
    const auto open = [&] {
        in.open(path, std::ios::binary);
        return in ? 0 : -1;
    };
    if (nsvd::detail::uninterrupted(open) < 0) throw failure(std::generic_category().message(errno));
    try {
        return {std::istreambuf_iterator<char>(in), {}};
    } catch (const std::ios_base::failure&) {  // which names no file
        throw failure(std::generic_category().message(errno));
    }
}

nlohmann::ordered_json read_json(const std::filesystem::path& path) {
    using event = nlohmann::ordered_json::parse_event_t;
    // What prints a value in an error calls itself for each level.
    constexpr int deepest = 64;
    const auto reject_deep = [&](int depth, event, nlohmann::ordered_json&) {
        if (depth > deepest)
            throw nsvd::error(fmt::format("{}: more than {} levels of JSON", path.string(), deepest));
        return true;
    };
    // Opening one waits until somebody writes to it.
    std::error_code unknown;
    if (std::filesystem::is_fifo(path, unknown)) throw nsvd::error(path.string() + ": not JSON: a pipe");
    nlohmann::ordered_json json;
    try {
        json = nlohmann::ordered_json::parse(read_file(path), reject_deep);
    } catch (const nlohmann::json::exception& e) {
        throw nsvd::error(fmt::format("{}: not JSON: {}", path.string(), e.what()));
    }
    if (!json.is_object()) throw nsvd::error(path.string() + ": not a JSON object");
    return json;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
    nsvd::atomic_file file(path);
    file.write(std::as_bytes(std::span(bytes)));
    file.commit();
}

output::output(std::filesystem::path path) : path_(std::move(path)) {
    if (!path_.empty() && !is_standard_output()) const nsvd::atomic_file trial(path_);
}

void output::write(std::string_view text) const {
    if (path_.empty()) return;
    if (is_standard_output()) {
        if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
            throw nsvd::error("standard output: cannot be written");
        return;
    }
    write_file(path_, text);
}

}  // namespace llm
