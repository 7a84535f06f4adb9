// SPDX-License-Identifier: MIT
/// A checksum that tells damaged and changed data from what they were; no protection against intent.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace llm {

/// FNV-1a of 64 bits, byte by byte.
class checksum {
public:
    void add(std::span<const std::byte> bytes) {
        for (const auto byte : bytes)
            hash_ = (hash_ ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3U;
    }
    void add(std::string_view text) { add(std::as_bytes(std::span(text))); }

    [[nodiscard]] std::uint64_t value() const { return hash_; }
    /// 16 hexadecimal digits.
    [[nodiscard]] std::string text() const { return fmt::format("{:016x}", hash_); }

private:
    std::uint64_t hash_ = 0xcbf29ce484222325U;
};

}  // namespace llm
