#include "files.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <span>
#include <system_error>

namespace llm {

std::string read_file(const std::filesystem::path& path) {
    const auto fail = [&](const std::string& why) {
        throw nsvd::error(path.string() + ": cannot be read: " + why);
    };
    if (std::filesystem::is_directory(path)) fail("it is a folder");
    std::ifstream in(path, std::ios::binary);
    if (!in) fail(std::generic_category().message(errno));
    std::string text{std::istreambuf_iterator<char>(in), {}};
    if (in.bad()) fail(std::generic_category().message(errno));
    return text;
}

nlohmann::ordered_json read_json(const std::filesystem::path& path) {
    nlohmann::ordered_json json;
    try {
        json = nlohmann::ordered_json::parse(read_file(path));
    } catch (const nlohmann::json::exception& e) {
        throw nsvd::error(fmt::format("{}: not JSON: {}", path.string(), e.what()));
    }
    if (!json.is_object()) throw nsvd::error(path.string() + ": not a JSON object");
    return json;
}

output::output(const std::filesystem::path& path) : standard_(path == "-") {
    if (!standard_ && !path.empty()) file_.emplace(path);
}

void output::write(std::string_view text) {
    if (standard_ &&
        (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0))
        throw nsvd::error("standard output: cannot be written");
    if (!file_) return;
    file_->write(std::as_bytes(std::span(text)));
    file_->commit();
}

}  // namespace llm
