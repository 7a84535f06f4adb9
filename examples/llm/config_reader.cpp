// SPDX-License-Identifier: MIT
#include "config_reader.hpp"

#include "files.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace llm {

config_reader::config_reader(const std::filesystem::path& path) : config_reader(path, "", read_json(path)) {
    if (!json_.is_object()) throw nsvd::error(path.string() + ": is no object of JSON");
}

config_reader::config_reader(std::filesystem::path path, std::string prefix, nlohmann::ordered_json json)
    : path_(std::move(path)), prefix_(std::move(prefix)), json_(std::move(json)) {}

void config_reader::fail(const std::string& key, const std::string& what) const {
    throw nsvd::error(fmt::format("{}: key '{}{}' {}", path_.string(), prefix_, key, what));
}

const nlohmann::ordered_json* config_reader::find(const std::string& key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
}

const nlohmann::ordered_json& config_reader::at(const std::string& key) const {
    const auto* value = find(key);
    if (!value) fail(key, "is missing");
    return *value;
}

std::size_t config_reader::count(const std::string& key, std::optional<std::size_t> fallback,
                                 std::size_t limit) const {
    if (!find(key) && fallback) return *fallback;
    const auto& value = at(key);
    if (!value.is_number_unsigned() || value.get<std::size_t>() < 1 || value.get<std::size_t>() > limit)
        fail(key, fmt::format("is {}: want a positive integer, at most {}", value.dump(), limit));
    return value.get<std::size_t>();
}

double config_reader::positive(const std::string& key, std::optional<double> fallback) const {
    if (!find(key) && fallback) return *fallback;
    const auto& value = at(key);
    if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>()))
        fail(key, fmt::format("is {}: want a positive number", value.dump()));
    return value.get<double>();
}

bool config_reader::flag(const std::string& key, bool fallback) const {
    const auto* value = find(key);
    if (value && !value->is_boolean()) fail(key, fmt::format("is {}: want true or false", value->dump()));
    return value ? value->get<bool>() : fallback;
}

std::string config_reader::text(const std::string& key, std::optional<std::string> fallback) const {
    if (!find(key) && fallback) return *fallback;
    const auto& value = at(key);
    if (!value.is_string()) fail(key, fmt::format("is {}: want a string", value.dump()));
    return value.get<std::string>();
}

std::vector<std::string> config_reader::texts(const std::string& key) const {
    const auto& value = at(key);
    bool strings = value.is_array();
    for (const auto& item : value)
        strings = strings && item.is_string();
    if (!strings) fail(key, fmt::format("is {}: want a list of strings", value.dump()));
    return value.get<std::vector<std::string>>();
}

config_reader config_reader::object(const std::string& key) const {
    const auto& value = at(key);
    if (!value.is_object()) fail(key, fmt::format("is {}: want an object", value.dump()));
    return {path_, prefix_ + key + ".", value};
}

}  // namespace llm
