// SPDX-License-Identifier: MIT
#include "layer_result.hpp"

#include <fmt/format.h>

#include <cmath>

namespace llm {
namespace {

using json = nlohmann::ordered_json;

json number(double value) {
    return std::isfinite(value) ? json(value) : json(nullptr);
}

std::int64_t read_count(const json_reader& from, const char* key, std::int64_t least) {
    const auto found = from.at(key);
    const auto count = found.integer();
    if (count < least) found.fail(fmt::format("is {}: want {} or more", count, least));
    return count;
}

sampled_spectrum read_spectrum(const json_reader& from) {
    sampled_spectrum spectrum;
    for (const auto& index : from.at("index").items()) {
        const auto i = index.integer();
        if (i <= (spectrum.empty() ? 0 : spectrum.index.back()))
            index.fail(fmt::format("is {}: indices count from 1 and ascend", i));
        spectrum.index.push_back(i);
    }
    for (const auto& value : from.at("value").items())
        spectrum.value.push_back(value.number());
    if (spectrum.index.size() != spectrum.value.size())
        from.fail(fmt::format("{} indices for {} values", spectrum.index.size(), spectrum.value.size()));
    return spectrum;
}

}  // namespace

json to_json(const layer_result& layer) {
    json result{{"name", layer.name},
                {"block", layer.block},
                {"kind", layer.kind},
                {"m", layer.m},
                {"n", layer.n},
                {"rank", layer.rank},
                {"full_rank", layer.full_rank},
                {"parameters", layer.parameters},
                {"bytes", layer.bytes},
                {"dense_bytes", layer.dense_bytes},
                {"weighted_error", number(layer.weighted_error)},
                {"plain_error", number(layer.plain_error)},
                {"seconds", number(layer.seconds)},
                {"status", layer.status}};
    if (layer.spectrum.empty()) return result;
    auto& spectrum = result["spectrum"] = {{"index", layer.spectrum.index}};
    for (const double value : layer.spectrum.value)
        spectrum["value"].push_back(number(value));
    return result;
}

layer_result read_layer_result(const json_reader& from) {
    return {.name = from.at("name").text(),
            .block = read_count(from, "block", 0),
            .kind = from.at("kind").text(),
            .m = read_count(from, "m", 1),
            .n = read_count(from, "n", 1),
            .rank = read_count(from, "rank", 1),
            .full_rank = read_count(from, "full_rank", 1),
            .parameters = read_count(from, "parameters", 0),
            .bytes = read_count(from, "bytes", 0),
            .dense_bytes = read_count(from, "dense_bytes", 0),
            .weighted_error = from.at("weighted_error").number(),
            .plain_error = from.at("plain_error").number(),
            .seconds = from.at("seconds").number(),
            .status = from.at("status").text(),
            .spectrum = from.contains("spectrum") ? read_spectrum(from.at("spectrum")) : sampled_spectrum()};
}

}  // namespace llm
