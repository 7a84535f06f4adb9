// SPDX-License-Identifier: MIT
// Mistral: a LLaMA whose attention sees the last `sliding_window` tokens.
#include "architectures/llama.hpp"

namespace llm {

config describe_mistral(const config_reader& json) {
    auto c = describe_llama_like(json, 131072);
    // Transformers take 4096 where the key is absent; null is the way to have none.
    if (!json.mentions("sliding_window") || json.find("sliding_window"))
        c.attention_window.assign(c.blocks, json.count("sliding_window", 4096));
    return c;
}

}  // namespace llm
