// SPDX-License-Identifier: MIT
#include "architecture.hpp"

#include <fmt/format.h>

#include <array>

namespace llm {

std::span<const architecture> architectures() {
    static constexpr std::array<architecture, 5> all{{{"llama", describe_llama},
                                                      {"mistral", describe_mistral},
                                                      {"mixtral", describe_mixtral},
                                                      {"opt", describe_opt},
                                                      {"qwen2", describe_qwen2}}};
    return all;
}

void check_heads(const config_reader& json, const config& c) {
    if (!json.find("head_dim") && c.hidden_size % c.heads != 0)
        json.fail("num_attention_heads",
                  fmt::format("is {}: does not divide hidden_size {}", c.heads, c.hidden_size));
    if (c.heads % c.key_value_heads != 0)
        json.fail("num_key_value_heads",
                  fmt::format("is {}: does not divide num_attention_heads {}", c.key_value_heads, c.heads));
}

activation read_activation(const config_reader& json, const std::string& key, const std::string& fallback) {
    const auto name = json.text(key, fallback);
    const auto which = activation_named(name);
    if (!which) json.fail(key, fmt::format("is '{}': known are: {}", name, activation_names()));
    return *which;
}

}  // namespace llm
