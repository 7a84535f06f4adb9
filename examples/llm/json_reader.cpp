// SPDX-License-Identifier: MIT
#include "json_reader.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <limits>

namespace llm {

void json_reader::fail(const std::string& what) const {
    throw nsvd::error(fmt::format("{}{}{}", place_, place_.empty() ? "" : ": ", what));
}

bool json_reader::contains(const std::string& key) const {
    return value_.is_object() && value_.contains(key);
}

bool json_reader::has(const std::string& key) const {
    return contains(key) && !value_[key].is_null();
}

json_reader json_reader::at(const std::string& key) const {
    if (!value_.is_object()) fail("is not an object");
    if (!value_.contains(key)) fail(fmt::format("key '{}' is missing", key));
    return json_reader(value_[key], place_of(key));
}

std::vector<json_reader> json_reader::items() const {
    if (!value_.is_array()) fail("is not a list");
    std::vector<json_reader> list;
    for (const auto& item : value_)
        list.emplace_back(item, fmt::format("{}[{}]", place_, list.size()));
    return list;
}

std::string json_reader::text() const {
    if (!value_.is_string()) fail("is not a string");
    return value_.get<std::string>();
}

std::int64_t json_reader::integer() const {
    if (!value_.is_number_integer()) fail("is not an integer");
    return value_.get<std::int64_t>();
}

double json_reader::number() const {
    if (value_.is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (!value_.is_number()) fail("is not a number");
    return value_.get<double>();
}

std::string json_reader::text_or(const std::string& key, const std::string& fallback) const {
    return has(key) ? at(key).text() : fallback;
}

std::int64_t json_reader::integer_or(const std::string& key, std::int64_t fallback) const {
    return has(key) ? at(key).integer() : fallback;
}

double json_reader::number_or(const std::string& key, double fallback) const {
    return has(key) ? at(key).number() : fallback;
}

}  // namespace llm
