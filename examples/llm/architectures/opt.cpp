// SPDX-License-Identifier: MIT
// OPT (and Galactica): layer norms, learned positions, biases, a plain feed-forward. The one of 350M
// normalizes after each addition and has embeddings that are smaller than its residual stream.
#include "architecture.hpp"

namespace llm {

config describe_opt(const config_reader& json) {
    config c;
    c.hidden_size = json.count("hidden_size");
    c.embedding_size = json.count("word_embed_proj_dim", c.hidden_size);
    c.intermediate_size = json.count("ffn_dim");
    c.blocks = json.count("num_hidden_layers", {}, most_blocks);
    c.heads = c.key_value_heads = json.count("num_attention_heads");
    c.vocab_size = json.count("vocab_size");
    c.max_position_embeddings = json.count("max_position_embeddings", 2048);
    c.tied_embeddings = json.flag("tie_word_embeddings", true);
    check_heads(json, c);
    c.head_dim = c.hidden_size / c.heads;
    c.norms = norm_kind::layer;
    c.norm_eps = 1e-5;
    c.norm_weights = json.flag("layer_norm_elementwise_affine", true);
    c.norm_before = json.flag("do_layer_norm_before", true);
    const bool removed = json.flag("_remove_final_layer_norm");
    c.first_position = 2;
    c.act = read_activation(json, "activation_function", "relu");
    c.attention_window.assign(c.blocks, 0);
    const bool projected = c.embedding_size != c.hidden_size;
    c.names = {.embedding = "model.decoder.embed_tokens.weight",
               .head = "lm_head.weight",
               .last_norm = c.norm_before && !removed ? "model.decoder.final_layer_norm" : "",
               .positions = "model.decoder.embed_positions.weight",
               .project_in = projected ? "model.decoder.project_in.weight" : "",
               .project_out = projected ? "model.decoder.project_out.weight" : "",
               .blocks = "model.decoder.layers",
               .attention_norm = "self_attn_layer_norm",
               .feed_forward_norm = "final_layer_norm"};
    c.linears = {{{{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, "self_attn.qkv_proj"},
                  {{"self_attn.out_proj"}},
                  {{"fc1"}},
                  {{"fc2"}}}};
    if (json.flag("enable_bias", true))
        for (auto& layers : c.linears)
            layers.bias_key = "enable_bias";
    return c;
}

}  // namespace llm
