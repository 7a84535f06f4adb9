// SPDX-License-Identifier: MIT
#include "config.hpp"

#include "files.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <optional>
#include <string>

namespace llm {
namespace {

/// Reads keys one by one; null counts as absent, as in Hugging Face's files.
class reader {
public:
    explicit reader(const std::filesystem::path& path) : path_(path), json_(read_json(path)) {}

    [[noreturn]] void fail(const std::string& key, const std::string& what) const {
        throw nsvd::error(fmt::format("{}: key '{}' {}", path_.string(), key, what));
    }

    [[nodiscard]] const nlohmann::ordered_json* find(const std::string& key) const {
        const auto found = json_.find(key);
        return found == json_.end() || found->is_null() ? nullptr : &*found;
    }

    [[nodiscard]] std::size_t count(const std::string& key, std::optional<std::size_t> fallback = {}) const {
        constexpr std::size_t limit = 1 << 30;
        const auto* value = find(key);
        if (!value && fallback) return *fallback;
        if (!value) fail(key, "is missing");
        if (!value->is_number_unsigned() || value->get<std::size_t>() < 1 ||
            value->get<std::size_t>() > limit)
            fail(key, fmt::format("is {}: want a positive integer", value->dump()));
        return value->get<std::size_t>();
    }

    [[nodiscard]] double positive(const std::string& key, std::optional<double> fallback = {}) const {
        const auto* value = find(key);
        if (!value && fallback) return *fallback;
        if (!value) fail(key, "is missing");
        if (!value->is_number() || !(value->get<double>() > 0))
            fail(key, fmt::format("is {}: want a positive number", value->dump()));
        return value->get<double>();
    }

    [[nodiscard]] bool flag(const std::string& key) const {
        const auto* value = find(key);
        if (value && !value->is_boolean()) fail(key, fmt::format("is {}: want true or false", value->dump()));
        return value && value->get<bool>();
    }

    [[nodiscard]] std::string text(const std::string& key, std::optional<std::string> fallback = {}) const {
        const auto* value = find(key);
        if (!value && fallback) return *fallback;
        if (!value) fail(key, "is missing");
        if (!value->is_string()) fail(key, fmt::format("is {}: want a string", value->dump()));
        return value->get<std::string>();
    }

    /// From `rope_theta`, or from the `rope_parameters` that newer writers put it into.
    [[nodiscard]] double rope_theta() const {
        const auto* parameters = find("rope_parameters");
        if (!parameters) return positive("rope_theta", 10000.0);
        if (!parameters->is_object() || parameters->value("rope_type", "default") != "default")
            fail("rope_parameters", "is not supported yet but for the rope_type 'default'");
        const auto theta = parameters->find("rope_theta");
        if (theta == parameters->end()) return positive("rope_theta", 10000.0);
        if (!theta->is_number() || !(theta->get<double>() > 0))
            fail("rope_parameters", fmt::format("has rope_theta {}: want a positive number", theta->dump()));
        return theta->get<double>();
    }

private:
    std::filesystem::path path_;
    nlohmann::ordered_json json_;
};

}  // namespace

config read_config(const std::filesystem::path& path) {
    const reader json(path);
    if (const auto type = json.text("model_type"); type != "llama")
        json.fail("model_type", fmt::format("is '{}': known are: llama", type));
    if (const auto act = json.text("hidden_act", "silu"); act != "silu")
        json.fail("hidden_act", fmt::format("is '{}': not supported yet, only silu is", act));
    for (const auto* key : {"rope_scaling", "quantization_config", "partial_rotary_factor"})
        if (json.find(key)) json.fail(key, "is not supported yet");
    for (const auto* key : {"attention_bias", "mlp_bias"})
        if (json.flag(key)) json.fail(key, "is true: not supported yet");

    config c;
    c.hidden_size = json.count("hidden_size");
    c.intermediate_size = json.count("intermediate_size");
    c.blocks = json.count("num_hidden_layers");
    c.heads = json.count("num_attention_heads");
    c.key_value_heads = json.count("num_key_value_heads", c.heads);
    c.vocab_size = json.count("vocab_size");
    c.max_position_embeddings = json.count("max_position_embeddings", 2048);
    c.rms_norm_eps = json.positive("rms_norm_eps");
    c.rope_theta = json.rope_theta();
    c.tied_embeddings = json.flag("tie_word_embeddings");
    if (!json.find("head_dim") && c.hidden_size % c.heads != 0)
        json.fail("num_attention_heads",
                  fmt::format("is {}: does not divide hidden_size {}", c.heads, c.hidden_size));
    c.head_dim = json.count("head_dim", c.hidden_size / c.heads);
    if (c.head_dim % 2 != 0)
        json.fail("head_dim", fmt::format("is {}: rotary positions want it even", c.head_dim));
    if (c.heads % c.key_value_heads != 0)
        json.fail("num_key_value_heads",
                  fmt::format("is {}: does not divide num_attention_heads {}", c.key_value_heads, c.heads));
    return c;
}

}  // namespace llm
