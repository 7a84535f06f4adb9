// SPDX-License-Identifier: MIT
#include "config.hpp"

#include "architecture.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace llm {

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

}  // namespace llm
