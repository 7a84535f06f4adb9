// SPDX-License-Identifier: MIT
// Mixtral: a Mistral with experts, of which a router gives each token the likeliest few.
#include "architectures/llama.hpp"

#include <fmt/format.h>

namespace llm {

config describe_mixtral(const config_reader& json) {
    auto c = describe_llama_like(json, 131072);
    // Other than Mistral's, no window where the key is absent.
    if (json.find("sliding_window")) c.attention_window.assign(c.blocks, json.count("sliding_window"));
    if (!json.find("rope_theta") && !json.find("rope_parameters") && !json.find("rope_scaling"))
        c.rotary->theta = 1e6;
    c.experts = json.count("num_local_experts", 8, most_experts);
    c.experts_per_token = json.count("num_experts_per_tok", 2);
    if (c.experts_per_token > c.experts)
        json.fail("num_experts_per_tok",
                  fmt::format("is {}: num_local_experts is {}", c.experts_per_token, c.experts));
    c.names.router = "block_sparse_moe.gate";
    const std::string expert = "block_sparse_moe.experts.{}.";
    c.linears[index_of(site_kind::feed_forward)] = {{expert + "w1", expert + "w3"}, expert + "w13"};
    c.linears[index_of(site_kind::feed_forward_output)] = {{expert + "w2"}};
    return c;
}

}  // namespace llm
