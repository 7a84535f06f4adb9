// SPDX-License-Identifier: MIT
// A second LLaMA, and what its heirs add: plain loops in double, token by token, nothing shared with the
// application; and random models.
#pragma once

#include <nsvd/ext/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace llm_test {

struct random_model {
    std::size_t hidden = 16, inter = 24, blocks = 2, heads = 4, kv_heads = 2, head_dim = 4, vocab = 50;
    double theta = 10000, eps = 1e-5;
    bool tied = false, explicit_head_dim = false, biased = false;
    nsvd::safetensors::dtype dtype = nsvd::safetensors::dtype::F32;
    unsigned seed = 1;
    std::string model_type = "llama";
    bool biased_inputs = false;                         // q, k and v alone
    nlohmann::json changes = nlohmann::json::object();  // of config.json
    // Mixtral: experts in a block and how many a token passes; no token passes the last `idle`.
    std::size_t experts = 0, chosen = 2, idle = 0;

    /// Writes config.json and model.safetensors.
    void write_to(const std::filesystem::path& folder) const {
        std::mt19937 random(seed);
        std::normal_distribution<double> normal;
        std::vector<nsvd::safetensors::tensor> tensors;
        const auto add = [&](const std::string& name, std::size_t m, std::size_t n, double mean,
                             double scale) {
            Eigen::MatrixXd w(static_cast<Eigen::Index>(m), static_cast<Eigen::Index>(n));
            for (auto& x : w.reshaped())
                x = mean + scale * normal(random);
            // Idle experts are those whose router dislikes a channel that all tokens have.
            if (idle > 0 && name == "model.embed_tokens.weight") w.col(0).setConstant(6);
            if (idle > 0 && name.find("block_sparse_moe.gate") != std::string::npos)
                for (auto e = experts - idle; e < experts; ++e)
                    w.row(static_cast<Eigen::Index>(e)) =
                        -20 * Eigen::RowVectorXd::Unit(static_cast<Eigen::Index>(n), 0);
            auto tensor = nsvd::safetensors::from_matrix(name, dtype, w);
            if (n == 1) tensor.shape = {static_cast<std::int64_t>(m)};
            tensors.push_back(std::move(tensor));
        };
        const auto linear = [&](const std::string& name, std::size_t m, std::size_t n) {
            add(name, m, n, 0, 1.5 / std::sqrt(static_cast<double>(n)));
        };
        add("model.embed_tokens.weight", vocab, hidden, 0, 1);
        if (!tied) linear("lm_head.weight", vocab, hidden);
        add("model.norm.weight", hidden, 1, 1, 0.2);
        for (std::size_t b = 0; b < blocks; ++b) {
            const auto block = "model.layers." + std::to_string(b) + ".";
            add(block + "input_layernorm.weight", hidden, 1, 1, 0.2);
            add(block + "post_attention_layernorm.weight", hidden, 1, 1, 0.2);
            const auto layer = [&](const std::string& name, std::size_t m, std::size_t n) {
                linear(block + name + ".weight", m, n);
                const bool input =
                    name.find("q_proj") + 1 || name.find("k_proj") + 1 || name.find("v_proj") + 1;
                if (biased || (biased_inputs && input)) add(block + name + ".bias", m, 1, 0, 0.5);
            };
            layer("self_attn.q_proj", heads * head_dim, hidden);
            layer("self_attn.k_proj", kv_heads * head_dim, hidden);
            layer("self_attn.v_proj", kv_heads * head_dim, hidden);
            layer("self_attn.o_proj", hidden, heads * head_dim);
            if (experts > 0) layer("block_sparse_moe.gate", experts, hidden);
            for (std::size_t e = 0; e < experts; ++e) {
                const auto expert = "block_sparse_moe.experts." + std::to_string(e) + ".";
                layer(expert + "w1", inter, hidden);
                layer(expert + "w2", hidden, inter);
                layer(expert + "w3", inter, hidden);
            }
            if (experts > 0) continue;
            layer("mlp.gate_proj", inter, hidden);
            layer("mlp.up_proj", inter, hidden);
            layer("mlp.down_proj", hidden, inter);
        }
        nsvd::safetensors::write(folder / "model.safetensors", tensors, {{"format", "pt"}});
        nlohmann::json config{
            {"model_type", model_type},   {"hidden_act", "silu"},          {"hidden_size", hidden},
            {"intermediate_size", inter}, {"num_hidden_layers", blocks},   {"num_attention_heads", heads},
            {"vocab_size", vocab},        {"max_position_embeddings", 64}, {"rms_norm_eps", eps},
            {"rope_theta", theta},        {"tie_word_embeddings", tied},   {"num_key_value_heads", kv_heads},
            {"rope_scaling", nullptr}};
        if (experts > 0) config.update({{"num_local_experts", experts}, {"num_experts_per_tok", chosen}});
        if (explicit_head_dim) config["head_dim"] = head_dim;
        config.update(changes);
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

/// Row-major, in double; with the bias of a layer that has one.
struct naive_weight {
    std::size_t rows, cols;
    std::vector<double> data, bias;
    [[nodiscard]] double operator()(std::size_t i, std::size_t j) const { return data[i * cols + j]; }
    [[nodiscard]] std::vector<double> operator*(const std::vector<double>& x) const {
        std::vector<double> y = bias.empty() ? std::vector<double>(rows, 0.0) : bias;
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t j = 0; j < cols; ++j)
                y[i] += (*this)(i, j) * x[j];
        return y;
    }
};

inline naive_weight naive_read(const nsvd::safetensors::file& file, const std::string& name) {
    const auto m = nsvd::safetensors::to_matrix<double>(file.at(name));
    naive_weight w{static_cast<std::size_t>(m.rows()), static_cast<std::size_t>(m.cols()), {}, {}};
    for (Eigen::Index i = 0; i < m.rows(); ++i)
        for (Eigen::Index j = 0; j < m.cols(); ++j)
            w.data.push_back(m(i, j));
    return w;
}

inline std::vector<double> naive_norm(const std::vector<double>& x, const naive_weight& weight, double eps) {
    double sum = 0;
    for (const double v : x)
        sum += v * v;
    std::vector<double> y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        y[i] = x[i] / std::sqrt(sum / static_cast<double>(x.size()) + eps) * weight.data[i];
    return y;
}

/// Rotary frequencies and the factor of cos and sin, where they are not the plain ones; and how many tokens
/// attention sees in each block, where it does not see all.
struct naive_variant {
    std::vector<double> frequencies;
    double scale = 1;
    std::vector<std::size_t> windows;
};

/// theta^(−2i/d).
inline std::vector<double> naive_frequencies(double theta, std::size_t dim) {
    std::vector<double> f;
    for (std::size_t i = 0; i < dim / 2; ++i)
        f.push_back(1 / std::pow(theta, 2 * static_cast<double>(i) / static_cast<double>(dim)));
    return f;
}

inline void naive_rotate(std::vector<double>& x, std::size_t position, const naive_variant& how) {
    const std::size_t dim = 2 * how.frequencies.size();
    for (std::size_t head = 0; head < x.size(); head += dim) {
        for (std::size_t i = 0; i < dim / 2; ++i) {
            const double angle = static_cast<double>(position) * how.frequencies[i];
            const double a = how.scale * x[head + i], b = how.scale * x[head + i + dim / 2];
            x[head + i] = a * std::cos(angle) - b * std::sin(angle);
            x[head + i + dim / 2] = b * std::cos(angle) + a * std::sin(angle);
        }
    }
}

/// down(silu(gate x) · up x).
inline std::vector<double> naive_gated(const naive_weight& gate, const naive_weight& up,
                                       const naive_weight& down, const std::vector<double>& x) {
    auto g = gate * x;
    const auto u = up * x;
    for (std::size_t i = 0; i < g.size(); ++i)
        g[i] *= u[i] / (1 + std::exp(-g[i]));
    return down * g;
}

/// The weights with which the outputs of the experts are added: 0 for those that a token doesn't pass.
inline std::vector<double> naive_routes(const std::vector<double>& logits, std::size_t chosen) {
    std::vector<double> p;
    double total = 0;
    for (const double l : logits)
        total += std::exp(l);
    for (const double l : logits)
        p.push_back(std::exp(l) / total);
    std::vector<double> sorted = p;
    std::sort(sorted.rbegin(), sorted.rend());
    double sum = 0;
    for (auto& weight : p) {
        if (weight < sorted[chosen - 1]) weight = 0;
        sum += weight;
    }
    for (auto& weight : p)
        weight /= sum;
    return p;
}

/// Logits of every position.
inline std::vector<std::vector<double>> naive_forward(const random_model& m,
                                                      const std::filesystem::path& folder,
                                                      const std::vector<std::uint32_t>& tokens,
                                                      naive_variant how = {}) {
    if (how.frequencies.empty()) how.frequencies = naive_frequencies(m.theta, m.head_dim);
    if (how.windows.empty()) how.windows.assign(m.blocks, tokens.size());
    const nsvd::safetensors::file file(folder / "model.safetensors");
    const auto weight = [&](const std::string& name) {
        auto w = naive_read(file, name + ".weight");
        if (file.contains(name + ".bias")) w.bias = naive_read(file, name + ".bias").data;
        return w;
    };
    const auto embedding = weight("model.embed_tokens");
    const auto head = m.tied ? embedding : weight("lm_head");
    const auto last_norm = weight("model.norm");

    std::vector<std::vector<double>> states;
    for (const auto id : tokens) {
        auto& x = states.emplace_back();
        for (std::size_t j = 0; j < m.hidden; ++j)
            x.push_back(embedding(id, j));
    }
    for (std::size_t b = 0; b < m.blocks; ++b) {
        const auto name = "model.layers." + std::to_string(b) + ".";
        const auto norm1 = weight(name + "input_layernorm"),
                   norm2 = weight(name + "post_attention_layernorm");
        const auto wq = weight(name + "self_attn.q_proj"), wk = weight(name + "self_attn.k_proj");
        const auto wv = weight(name + "self_attn.v_proj"), wo = weight(name + "self_attn.o_proj");
        const auto feed_forward = [&](const std::string& layers, const char* gate, const char* up,
                                      const char* down) {
            return [gate = weight(name + layers + gate), up = weight(name + layers + up),
                    down = weight(name + layers + down)](const std::vector<double>& in) {
                return naive_gated(gate, up, down, in);
            };
        };
        using layers = std::function<std::vector<double>(const std::vector<double>&)>;
        std::vector<layers> experts;
        if (m.experts == 0) experts.push_back(feed_forward("mlp.", "gate_proj", "up_proj", "down_proj"));
        for (std::size_t e = 0; e < m.experts; ++e)
            experts.push_back(
                feed_forward("block_sparse_moe.experts." + std::to_string(e) + ".", "w1", "w3", "w2"));
        naive_weight router{};
        if (m.experts > 0) router = weight(name + "block_sparse_moe.gate");
        std::vector<std::vector<double>> keys, values;
        for (std::size_t t = 0; t < states.size(); ++t) {
            auto& x = states[t];
            const auto normed = naive_norm(x, norm1, m.eps);
            auto q = wq * normed;
            naive_rotate(q, t, how);
            naive_rotate(keys.emplace_back(wk * normed), t, how);
            values.push_back(wv * normed);
            std::vector<double> mixed(m.heads * m.head_dim, 0.0);
            for (std::size_t h = 0; h < m.heads; ++h) {
                const auto kv = h / (m.heads / m.kv_heads) * m.head_dim;
                std::vector<double> p(t + 1);
                double total = 0;
                for (std::size_t s = 0; s <= t; ++s) {
                    if (s + how.windows[b] <= t) continue;
                    double dot = 0;
                    for (std::size_t i = 0; i < m.head_dim; ++i)
                        dot += q[h * m.head_dim + i] * keys[s][kv + i];
                    total += p[s] = std::exp(dot / std::sqrt(static_cast<double>(m.head_dim)));
                }
                for (std::size_t s = 0; s <= t; ++s)
                    for (std::size_t i = 0; i < m.head_dim; ++i)
                        mixed[h * m.head_dim + i] += p[s] / total * values[s][kv + i];
            }
            const auto attended = wo * mixed;
            for (std::size_t i = 0; i < m.hidden; ++i)
                x[i] += attended[i];
            const auto fed = naive_norm(x, norm2, m.eps);
            const auto routes =
                m.experts == 0 ? std::vector<double>{1} : naive_routes(router * fed, m.chosen);
            for (std::size_t e = 0; e < experts.size(); ++e) {
                if (routes[e] == 0) continue;
                const auto out = experts[e](fed);
                for (std::size_t i = 0; i < m.hidden; ++i)
                    x[i] += routes[e] * out[i];
            }
        }
    }
    std::vector<std::vector<double>> logits;
    for (const auto& x : states)
        logits.push_back(head * naive_norm(x, last_norm, m.eps));
    return logits;
}

/// Mean −log p(next) from logits.
inline double naive_nll(const std::vector<std::vector<double>>& logits,
                        const std::vector<std::uint32_t>& tokens) {
    double sum = 0;
    for (std::size_t t = 0; t + 1 < tokens.size(); ++t) {
        double total = 0;
        for (const double l : logits[t])
            total += std::exp(l - logits[t][tokens[t + 1]]);
        sum += std::log(total);
    }
    return sum / static_cast<double>(tokens.size() - 1);
}

}  // namespace llm_test
