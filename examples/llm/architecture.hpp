// SPDX-License-Identifier: MIT
/// The architectures that are known. One is a file in architectures/, a declaration and a line of the table
/// here, and its name in CMakeLists.txt: everything else works on what it puts into a config.
#pragma once

#include "config.hpp"
#include "config_reader.hpp"

#include <span>
#include <string>
#include <string_view>

namespace llm {

struct architecture {
    std::string_view model_type;  ///< in config.json
    /// Everything about a model but its type. Throws nsvd::error by the reader.
    config (*describe)(const config_reader& json);
};

[[nodiscard]] std::span<const architecture> architectures();

config describe_llama(const config_reader& json);
config describe_mistral(const config_reader& json);
config describe_mixtral(const config_reader& json);
config describe_opt(const config_reader& json);
config describe_qwen2(const config_reader& json);

// What several of them read in the same way.

/// Fails unless the numbers of heads divide what they have to.
void check_heads(const config_reader& json, const config& c);

[[nodiscard]] activation read_activation(const config_reader& json, const std::string& key,
                                         const std::string& fallback);

}  // namespace llm
