// SPDX-License-Identifier: MIT
/// What tells one description of a job from another.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace llm {

/// A checksum (XXH3 of 64 bits, 16 hexadecimal digits) of a job, whatever the order of its keys.
[[nodiscard]] std::string digest_of(const nlohmann::ordered_json& job);

}  // namespace llm
