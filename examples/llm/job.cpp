// SPDX-License-Identifier: MIT
#include "job.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <system_error>

namespace llm {

nlohmann::ordered_json identity_of(const std::filesystem::path& file) {
    std::error_code failure;
    const auto size = std::filesystem::file_size(file, failure);
    const auto time = std::filesystem::last_write_time(file, failure);
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

nlohmann::ordered_json identity_of(std::span<const token> tokens) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const auto id : tokens)
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (id >> shift & 0xffU)) * 0x100000001b3U;
    return {{"tokens", tokens.size()}, {"fnv1a", fmt::format("{:016x}", hash)}};
}

}  // namespace llm
