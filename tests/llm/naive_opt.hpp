// SPDX-License-Identifier: MIT
// A second OPT: plain loops in double, token by token; and random models.
#pragma once

#include "naive_llama.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace llm_test {

struct random_opt {
    std::size_t hidden = 16, embedding = 16, inter = 24, blocks = 2, heads = 4, vocab = 50, positions = 150;
    bool before = true, biased = true, affine = true, tied = true, last_norm = true;
    std::string act = "relu";
    unsigned seed = 1;

    void write_to(const std::filesystem::path& folder) const {
        std::mt19937 random(seed);
        std::normal_distribution<double> normal;
        std::vector<nsvd::safetensors::tensor> tensors;
        const auto add = [&](const std::string& name, std::size_t m, std::size_t n, double mean,
                             double scale) {
            Eigen::MatrixXd w(static_cast<Eigen::Index>(m), static_cast<Eigen::Index>(n));
            for (auto& x : w.reshaped())
                x = mean + scale * normal(random);
            auto tensor = nsvd::safetensors::from_matrix(name, nsvd::safetensors::dtype::F32, w);
            if (n == 1) tensor.shape = {static_cast<std::int64_t>(m)};
            tensors.push_back(std::move(tensor));
        };
        const auto weight = [&](const std::string& name, std::size_t m, std::size_t n) {
            add(name + ".weight", m, n, 0, 1.5 / std::sqrt(static_cast<double>(n)));
        };
        const auto norm = [&](const std::string& name) {
            if (!affine) return;
            add(name + ".weight", hidden, 1, 1, 0.2);
            add(name + ".bias", hidden, 1, 0, 0.2);
        };
        const std::string decoder = "model.decoder.";
        add(decoder + "embed_tokens.weight", vocab, embedding, 0, 1);
        add(decoder + "embed_positions.weight", positions + 2, hidden, 0, 0.5);
        if (!tied) weight("lm_head", vocab, embedding);
        if (embedding != hidden) {
            weight(decoder + "project_in", hidden, embedding);
            weight(decoder + "project_out", embedding, hidden);
        }
        if (before && last_norm) norm(decoder + "final_layer_norm");
        for (std::size_t b = 0; b < blocks; ++b) {
            const auto block = decoder + "layers." + std::to_string(b) + ".";
            const auto layer = [&](const std::string& name, std::size_t m, std::size_t n) {
                weight(block + name, m, n);
                if (biased) add(block + name + ".bias", m, 1, 0, 0.5);
            };
            for (const auto* name : {"k_proj", "v_proj", "q_proj", "out_proj"})
                layer(std::string("self_attn.") + name, hidden, hidden);
            norm(block + "self_attn_layer_norm");
            layer("fc1", inter, hidden);
            layer("fc2", hidden, inter);
            norm(block + "final_layer_norm");
        }
        nsvd::safetensors::write(folder / "model.safetensors", tensors, {{"format", "pt"}});
        nlohmann::json config{{"model_type", "opt"},
                              {"activation_function", act},
                              {"hidden_size", hidden},
                              {"word_embed_proj_dim", embedding},
                              {"ffn_dim", inter},
                              {"num_hidden_layers", blocks},
                              {"num_attention_heads", heads},
                              {"vocab_size", vocab},
                              {"max_position_embeddings", positions},
                              {"do_layer_norm_before", before}};
        if (!biased) config["enable_bias"] = false;
        if (!affine) config["layer_norm_elementwise_affine"] = false;
        if (!tied) config["tie_word_embeddings"] = false;
        if (!last_norm) config["_remove_final_layer_norm"] = true;
        std::ofstream(folder / "config.json") << config;
    }

    [[nodiscard]] std::vector<std::uint32_t> tokens(std::size_t count) const {
        std::mt19937 random(seed + 1000);
        std::vector<std::uint32_t> result(count);
        for (auto& id : result)
            id = static_cast<std::uint32_t>(random() % vocab);
        return result;
    }
};

/// Logits of every position.
inline std::vector<std::vector<double>> naive_forward(const random_opt& m,
                                                      const std::filesystem::path& folder,
                                                      const std::vector<std::uint32_t>& tokens) {
    const nsvd::safetensors::file file(folder / "model.safetensors");
    const auto weight = [&](const std::string& name) {
        auto w = naive_read(file, name + ".weight");
        if (file.contains(name + ".bias")) w.bias = naive_read(file, name + ".bias").data;
        return w;
    };
    const auto norm = [&](const std::string& name, std::vector<double> x) {
        double mean = 0, variance = 0;
        for (const double v : x)
            mean += v / static_cast<double>(x.size());
        for (const double v : x)
            variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
        for (auto& v : x)
            v = (v - mean) / std::sqrt(variance + 1e-5);
        if (!file.contains(name + ".weight")) return x;
        const auto w = weight(name);
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = x[i] * w.data[i] + w.bias[i];
        return x;
    };
    const auto act = [&](double x) {
        if (m.act == "relu") return x > 0 ? x : 0.0;
        if (m.act == "gelu") return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
        if (m.act == "silu") return x / (1 + std::exp(-x));
        return x / 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
    };
    const std::string decoder = "model.decoder.";
    const auto embedding = weight(decoder + "embed_tokens");
    const auto positions = weight(decoder + "embed_positions");
    const std::size_t dim = m.hidden / m.heads;
    std::vector<std::vector<double>> states;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
        std::vector<double> x;
        for (std::size_t j = 0; j < m.embedding; ++j)
            x.push_back(embedding(tokens[t], j));
        if (m.embedding != m.hidden) x = weight(decoder + "project_in") * x;
        for (std::size_t j = 0; j < m.hidden; ++j)
            x[j] += positions(t + 2, j);
        states.push_back(x);
    }
    for (std::size_t b = 0; b < m.blocks; ++b) {
        const auto name = decoder + "layers." + std::to_string(b) + ".";
        const auto wq = weight(name + "self_attn.q_proj"), wk = weight(name + "self_attn.k_proj");
        const auto wv = weight(name + "self_attn.v_proj"), wo = weight(name + "self_attn.out_proj");
        const auto fc1 = weight(name + "fc1"), fc2 = weight(name + "fc2");
        std::vector<std::vector<double>> keys, values;
        for (std::size_t t = 0; t < states.size(); ++t) {
            auto& x = states[t];
            const auto in = m.before ? norm(name + "self_attn_layer_norm", x) : x;
            const auto q = wq * in;
            keys.push_back(wk * in);
            values.push_back(wv * in);
            std::vector<double> mixed(m.hidden, 0.0);
            for (std::size_t h = 0; h < m.hidden; h += dim) {
                std::vector<double> p(t + 1);
                double total = 0;
                for (std::size_t s = 0; s <= t; ++s) {
                    double dot = 0;
                    for (std::size_t i = h; i < h + dim; ++i)
                        dot += q[i] * keys[s][i];
                    total += p[s] = std::exp(dot / std::sqrt(static_cast<double>(dim)));
                }
                for (std::size_t s = 0; s <= t; ++s)
                    for (std::size_t i = h; i < h + dim; ++i)
                        mixed[i] += p[s] / total * values[s][i];
            }
            const auto attended = wo * mixed;
            for (std::size_t i = 0; i < m.hidden; ++i)
                x[i] += attended[i];
            if (!m.before) x = norm(name + "self_attn_layer_norm", x);
            auto inner = fc1 * (m.before ? norm(name + "final_layer_norm", x) : x);
            for (auto& v : inner)
                v = act(v);
            const auto fed = fc2 * inner;
            for (std::size_t i = 0; i < m.hidden; ++i)
                x[i] += fed[i];
            if (!m.before) x = norm(name + "final_layer_norm", x);
        }
    }
    const auto head = m.tied ? embedding : weight("lm_head");
    std::vector<std::vector<double>> logits;
    for (auto x : states) {
        if (m.before && m.last_norm) x = norm(decoder + "final_layer_norm", x);
        if (m.embedding != m.hidden) x = weight(decoder + "project_out") * x;
        logits.push_back(head * x);
    }
    return logits;
}

}  // namespace llm_test
