// SPDX-License-Identifier: MIT
#include "job.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <system_error>

namespace llm {

namespace {

/// FNV-1a, byte by byte.
class checksum {
public:
    void add(std::uint8_t byte) { hash_ = (hash_ ^ byte) * 0x100000001b3U; }
    [[nodiscard]] std::string text() const { return fmt::format("{:016x}", hash_); }

private:
    std::uint64_t hash_ = 0xcbf29ce484222325U;
};

}  // namespace

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

std::string digest_of(const nlohmann::ordered_json& job) {
    checksum sum;
    for (const char c : nlohmann::json(job).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
        sum.add(static_cast<std::uint8_t>(c));
    return sum.text();
}

nlohmann::ordered_json identity_of(std::span<const token> tokens) {
    checksum sum;
    for (const auto id : tokens)
        for (int shift = 0; shift < 32; shift += 8)
            sum.add(static_cast<std::uint8_t>(id >> shift & 0xffU));
    return {{"tokens", tokens.size()}, {"fnv1a", sum.text()}};
}

}  // namespace llm
