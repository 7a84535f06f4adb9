// SPDX-License-Identifier: MIT
// Qwen2 and 2.5: a LLaMA with biases of q, k and v, and, if at all, a sliding window in the later blocks.
#include "architectures/llama.hpp"

#include <fmt/format.h>

namespace llm {
namespace {

/// Whether block `i` has the sliding window: by `layer_types`, or from block `max_window_layers` on.
std::vector<bool> sliding_blocks(const config_reader& json, std::size_t blocks) {
    std::vector<bool> sliding(blocks);
    if (json.find("layer_types")) {
        const auto types = json.texts("layer_types");
        if (types.size() != blocks)
            json.fail("layer_types",
                      fmt::format("has {} entries: num_hidden_layers is {}", types.size(), blocks));
        for (std::size_t i = 0; i < blocks; ++i) {
            sliding[i] = types[i] == "sliding_attention";
            if (!sliding[i] && types[i] != "full_attention")
                json.fail("layer_types",
                          fmt::format("has '{}': known are: full_attention, sliding_attention", types[i]));
        }
        return sliding;
    }
    const auto* zero = json.find("max_window_layers");
    const std::size_t first = zero && *zero == 0 ? 0 : json.count("max_window_layers", 28);
    for (std::size_t i = first; i < blocks; ++i)
        sliding[i] = true;
    return sliding;
}

}  // namespace

config describe_qwen2(const config_reader& json) {
    auto c = describe_llama_like(json, 32768);
    const bool any =
        json.flag("use_sliding_window") && (!json.mentions("sliding_window") || json.find("sliding_window"));
    if (!any && !json.find("layer_types")) return c;
    const auto sliding = sliding_blocks(json, c.blocks);
    for (std::size_t i = 0; i < c.blocks; ++i) {
        if (sliding[i] && !any)
            json.fail("layer_types", "has 'sliding_attention': use_sliding_window or sliding_window is off");
        if (sliding[i]) c.attention_window[i] = json.count("sliding_window", 4096);
    }
    return c;
}

}  // namespace llm
