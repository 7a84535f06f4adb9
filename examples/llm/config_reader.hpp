// SPDX-License-Identifier: MIT
/// `config.json` key by key, with errors that name file, key and value.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace llm {

/// Reads the keys of an object one by one; null counts as absent, as in Hugging Face's files. Everything
/// throws nsvd::error naming file, key and value: what is missing without a fallback, has another type, or is
/// out of range.
class config_reader {
public:
    /// Throws nsvd::error unless the file can be read and is an object of JSON.
    explicit config_reader(const std::filesystem::path& path);

    /// "FILE: key 'KEY' what".
    [[noreturn]] void fail(const std::string& key, const std::string& what) const;

    [[nodiscard]] const nlohmann::ordered_json* find(const std::string& key) const;
    /// Whether the key is there, though it may be null.
    [[nodiscard]] bool mentions(const std::string& key) const { return json_.contains(key); }
    /// From 1 to `limit`.
    [[nodiscard]] std::size_t count(const std::string& key, std::optional<std::size_t> fallback = {},
                                    std::size_t limit = std::size_t{1} << 30) const;
    /// More than 0 and finite.
    [[nodiscard]] double positive(const std::string& key, std::optional<double> fallback = {}) const;
    [[nodiscard]] bool flag(const std::string& key, bool fallback = false) const;
    [[nodiscard]] std::string text(const std::string& key, std::optional<std::string> fallback = {}) const;
    [[nodiscard]] std::vector<std::string> texts(const std::string& key) const;
    /// The object that is the value of a key, whose own keys are "KEY.…" in errors.
    [[nodiscard]] config_reader object(const std::string& key) const;

private:
    config_reader(std::filesystem::path path, std::string prefix, nlohmann::ordered_json json);
    [[nodiscard]] const nlohmann::ordered_json& at(const std::string& key) const;

    std::filesystem::path path_;
    std::string prefix_;
    nlohmann::ordered_json json_;
};

}  // namespace llm
