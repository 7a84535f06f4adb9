// SPDX-License-Identifier: MIT
/// Values of a JSON file, with errors that say which.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llm {

/// A value and its place, for example "layers[3].rank". Refers to the value. All throw nsvd::error naming the
/// place for what is missing or of another type.
class json_reader {
public:
    explicit json_reader(const nlohmann::ordered_json& value, std::string place = {})
        : value_(value), place_(std::move(place)) {}

    [[nodiscard]] bool contains(const std::string& key) const;
    [[nodiscard]] json_reader at(const std::string& key) const;
    [[nodiscard]] std::vector<json_reader> items() const;

    [[nodiscard]] std::string text() const;
    [[nodiscard]] std::int64_t integer() const;
    [[nodiscard]] double number() const;  ///< NaN for null

    /// The same of a key that may be absent or null.
    [[nodiscard]] std::string text_or(const std::string& key, const std::string& fallback) const;
    [[nodiscard]] std::int64_t integer_or(const std::string& key, std::int64_t fallback) const;
    [[nodiscard]] double number_or(const std::string& key, double fallback) const;

    [[noreturn]] void fail(const std::string& what) const;
    [[nodiscard]] const nlohmann::ordered_json& value() const { return value_; }

private:
    [[nodiscard]] std::string place_of(const std::string& key) const {
        return place_.empty() ? key : place_ + '.' + key;
    }
    [[nodiscard]] bool has(const std::string& key) const;

    const nlohmann::ordered_json& value_;
    std::string place_;
};

}  // namespace llm
