// SPDX-License-Identifier: MIT
// LLaMA 1 to 3 and Vicuna: RMS norms, rotary positions, grouped-query attention, a gated feed-forward.
#include "architectures/llama.hpp"

#include <fmt/format.h>

namespace llm {

config describe_llama_like(const config_reader& json, std::size_t usual_positions) {
    if (json.positive("partial_rotary_factor", 1.0) != 1)
        json.fail("partial_rotary_factor",
                  fmt::format("is {}: not supported", json.find("partial_rotary_factor")->dump()));
    config c;
    c.hidden_size = c.embedding_size = json.count("hidden_size");
    c.intermediate_size = json.count("intermediate_size");
    c.blocks = json.count("num_hidden_layers", {}, most_blocks);
    c.heads = json.count("num_attention_heads");
    c.key_value_heads = json.count("num_key_value_heads", c.heads);
    c.vocab_size = json.count("vocab_size");
    c.max_position_embeddings = json.count("max_position_embeddings", usual_positions);
    c.norm_eps = json.positive("rms_norm_eps");
    c.tied_embeddings = json.flag("tie_word_embeddings");
    c.act = read_activation(json, "hidden_act", "silu");
    check_heads(json, c);
    c.head_dim = json.count("head_dim", c.hidden_size / c.heads);
    if (c.head_dim % 2 != 0)
        json.fail("head_dim", fmt::format("is {}: rotary positions want it even", c.head_dim));
    c.rotary = read_rope(json, c.head_dim, c.max_position_embeddings);
    c.attention_window.assign(c.blocks, 0);
    c.names = {.embedding = "model.embed_tokens.weight",
               .head = "lm_head.weight",
               .last_norm = "model.norm",
               .positions = "",
               .project_in = "",
               .project_out = "",
               .blocks = "model.layers",
               .attention_norm = "input_layernorm",
               .feed_forward_norm = "post_attention_layernorm"};
    c.linears = {{{{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, "self_attn.qkv_proj"},
                  {{"self_attn.o_proj"}},
                  {{"mlp.gate_proj", "mlp.up_proj"}, "mlp.gate_up_proj"},
                  {{"mlp.down_proj"}}}};
    return c;
}

config describe_llama(const config_reader& json) {
    auto c = describe_llama_like(json, 2048);
    const bool attention = json.flag("attention_bias"), feed_forward = json.flag("mlp_bias");
    for (const auto kind : site_kinds) {
        const bool second_half = is_of_experts(kind);
        if (second_half ? feed_forward : attention)
            c.linears[index_of(kind)].bias_key = second_half ? "mlp_bias" : "attention_bias";
    }
    return c;
}

}  // namespace llm
