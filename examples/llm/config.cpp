// SPDX-License-Identifier: MIT
#include "config.hpp"

#include "architecture.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace llm {

std::vector<site> config::sites_in_block() const {
    std::vector<site> sites{site::attention, site::attention_output};
    for (std::size_t e = 0; e < std::max<std::size_t>(experts, 1); ++e) {
        sites.push_back({site_kind::feed_forward, e});
        sites.push_back({site_kind::feed_forward_output, e});
    }
    return sites;
}

std::size_t config::layers_in_block() const {
    std::size_t count = 0;
    for (const auto& where : sites_in_block())
        count += linears[index_of(where.kind)].names.size();
    return count;
}

config read_config(const std::filesystem::path& path) {
    const config_reader json(path);
    const auto type = json.text("model_type");
    const auto all = architectures();
    const auto found = std::find_if(all.begin(), all.end(), [&](auto& a) { return a.model_type == type; });
    if (found == all.end()) {
        std::vector<std::string_view> known;
        for (const auto& a : all)
            known.push_back(a.model_type);
        json.fail("model_type", fmt::format("is '{}': known are: {}", type, fmt::join(known, ", ")));
    }
    if (const auto* value = json.find("quantization_config"))
        json.fail("quantization_config", fmt::format("is {}: not supported", value->dump()));
    auto c = found->describe(json);
    c.model_type = type;
    return c;
}

std::pair<std::size_t, std::size_t> config::layer_shape(site_kind input, std::size_t part) const {
    const auto attention = heads * head_dim;
    switch (input) {
        case site_kind::attention:
            return {part == 0 ? attention : key_value_heads * head_dim, hidden_size};
        case site_kind::attention_output:
            return {hidden_size, attention};
        case site_kind::feed_forward_output:
            return {hidden_size, intermediate_size};
        default:
            return {intermediate_size, hidden_size};
    }
}

}  // namespace llm
