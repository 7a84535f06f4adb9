// SPDX-License-Identifier: MIT
#include "job.hpp"

#include <nsvd/error.hpp>
#include <nsvd/ext/checksum.hpp>

#include <fmt/format.h>

#include <system_error>

namespace llm {

nlohmann::ordered_json identity_of(const std::filesystem::path& file) {
    std::error_code failure;
    const auto size = std::filesystem::file_size(file, failure);
    std::filesystem::file_time_type time;
    if (!failure) time = std::filesystem::last_write_time(file, failure);
    if (failure) throw nsvd::error(fmt::format("{}: cannot be read: {}", file.string(), failure.message()));
    return {{"file", std::filesystem::weakly_canonical(file).string()},
            {"bytes", size},
            {"changed", time.time_since_epoch().count()}};
}

nlohmann::ordered_json identity_of(const model& m) {
    auto files = nlohmann::ordered_json::array({identity_of(m.folder() / "config.json")});
    for (const auto& file : m.weights().files())
        files.push_back(identity_of(file.path()));
    return files;
}

void check_unchanged(const model& m, const nlohmann::ordered_json& job) {
    for (const auto& file : m.weights().files())
        file.check_unchanged();
    check_unchanged(job.at("model"));
}

void check_unchanged(const nlohmann::ordered_json& files) {
    for (const auto& was : files) {
        const std::filesystem::path file = was.at("file").get<std::string>();
        if (identity_of(file) != was)
            throw nsvd::error(
                fmt::format("{}: was changed by another program: start the same command again with --restart",
                            file.string()));
    }
}

nlohmann::ordered_json identity_of(std::span<const token> tokens) {
    nsvd::checksum sum;
    sum.add(std::as_bytes(tokens));
    return {{"tokens", tokens.size()}, {"xxh3", sum.text()}};
}

}  // namespace llm
