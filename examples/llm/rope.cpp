// SPDX-License-Identifier: MIT
#include "rope.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <string>

namespace llm {
namespace {

using Eigen::Index;

constexpr double turn = 2 * std::numbers::pi;

/// At least 1.
double read_factor(const config_reader& json, std::optional<double> fallback = {}) {
    const double factor = json.positive("factor", fallback);
    if (factor < 1) json.fail("factor", fmt::format("is {:g}: want 1 or more", factor));
    return factor;
}

void read_llama3(const config_reader& json, rope& r) {
    r.factor = read_factor(json);
    r.original_length = static_cast<double>(json.count("original_max_position_embeddings"));
    r.low_frequency = json.positive("low_freq_factor");
    r.high_frequency = json.positive("high_freq_factor");
    if (r.high_frequency <= r.low_frequency)
        json.fail("high_freq_factor", fmt::format("is {:g}: want more than low_freq_factor {:g}",
                                                  r.high_frequency, r.low_frequency));
}

void read_yarn(const config_reader& json, double max_length, rope& r) {
    r.original_length = json.positive("original_max_position_embeddings", max_length);
    const bool stretched = json.find("original_max_position_embeddings") != nullptr;
    r.factor = stretched ? read_factor(json, max_length / r.original_length) : read_factor(json);
    r.beta_fast = json.positive("beta_fast", r.beta_fast);
    r.beta_slow = json.positive("beta_slow", r.beta_slow);
    if (r.beta_fast < r.beta_slow)
        json.fail("beta_fast", fmt::format("is {:g}: want beta_slow {:g} or more", r.beta_fast, r.beta_slow));
    if (r.theta <= 1) json.fail("rope_theta", fmt::format("is {:g}: yarn wants more than 1", r.theta));
    r.whole_pairs = json.flag("truncate", true);
    const auto scale = [&](double weight) { return 0.1 * weight * std::log(r.factor) + 1; };
    // 0 counts as absent.
    const auto weight = [&](const char* key) {
        const auto* value = json.find(key);
        return value && *value == 0 ? 0.0 : json.positive(key, 0.0);
    };
    const double some = weight("mscale"), all = weight("mscale_all_dim");
    const double usual = some > 0 && all > 0 ? scale(some) / scale(all) : scale(1);
    r.attention_factor = json.positive("attention_factor", usual);
    if (r.attention_factor > std::numeric_limits<float>::max())
        json.fail("attention_factor", fmt::format("is {:g}: too large", r.attention_factor));
}

/// `json` is the object of the key `rope_scaling` or `rope_parameters`.
rope read_parameters(const config_reader& json, double theta, std::size_t head_dim, double max_length) {
    // Newer transformers write an object for each kind of attention where the kinds differ.
    for (const auto* kind : {"full_attention", "sliding_attention", "chunked_attention"})
        if (const auto* value = json.find(kind))
            json.fail(kind,
                      fmt::format("is {}: rotary positions that differ between blocks are not supported",
                                  value->dump()));
    const auto type = json.text("rope_type", json.text("type", "default"));
    if (json.find("type") && json.text("type") != type)
        json.fail("type", fmt::format("is '{}', rope_type is '{}'", json.text("type"), type));
    if (json.positive("partial_rotary_factor", 1.0) != 1)
        json.fail("partial_rotary_factor",
                  fmt::format("is {}: not supported", json.find("partial_rotary_factor")->dump()));
    rope r{.theta = json.positive("rope_theta", theta), .max_length = 0};
    if (type == "default") return r;
    if (type == "linear") {
        r.how = rope::scaling::linear;
        r.factor = read_factor(json);
    } else if (type == "dynamic") {
        r.how = rope::scaling::dynamic;
        r.factor = read_factor(json);
        r.max_length = max_length;
        if (head_dim <= 2)
            json.fail("rope_type", fmt::format("is 'dynamic': wants heads of more than {}", head_dim));
    } else if (type == "llama3") {
        r.how = rope::scaling::llama3;
        read_llama3(json, r);
    } else if (type == "yarn") {
        r.how = rope::scaling::yarn;
        read_yarn(json, max_length, r);
    } else {
        json.fail(json.find("rope_type") ? "rope_type" : "type",
                  fmt::format("is '{}': known are: default, linear, dynamic, llama3, yarn", type));
    }
    return r;
}

double llama3_frequency(const rope& r, double frequency) {
    const double turns = r.original_length * frequency / turn;
    const double s = std::clamp((turns - r.low_frequency) / (r.high_frequency - r.low_frequency), 0.0, 1.0);
    return (1 - s) * frequency / r.factor + s * frequency;
}

/// r_i of all pairs.
Eigen::VectorXd yarn_ramp(const rope& r, Index half) {
    // The pair, in fractions, that turns so many times over the original length.
    const auto pair = [&](double turns) {
        return static_cast<double>(half) * std::log(r.original_length / (turns * turn)) / std::log(r.theta);
    };
    double low = pair(r.beta_fast), high = pair(r.beta_slow);
    if (r.whole_pairs) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(2 * half - 1));
    if (low == high) high += 0.001;
    return ((Eigen::ArrayXd::LinSpaced(half, 0, static_cast<double>(half - 1)) - low) / (high - low))
        .cwiseMax(0.0)
        .cwiseMin(1.0);
}

}  // namespace

rope read_rope(const config_reader& json, std::size_t head_dim, std::size_t max_positions) {
    const double theta = json.positive("rope_theta", 10000.0);
    std::optional<rope> found;
    for (const auto* key : {"rope_parameters", "rope_scaling"}) {
        if (!json.find(key)) continue;
        const auto inner = json.object(key);
        const auto r = read_parameters(inner, found ? found->theta : theta, head_dim,
                                       static_cast<double>(max_positions));
        if (json.find("rope_theta") && r.theta != theta)
            inner.fail("rope_theta", fmt::format("is {:g}, rope_theta itself is {:g}", r.theta, theta));
        if (found && r != *found)
            json.fail(key, fmt::format("is {}: contradicts rope_parameters", json.find(key)->dump()));
        found = r;
    }
    return found.value_or(rope{.theta = theta});
}

Eigen::VectorXd rope::frequencies(Index dim, Index tokens) const {
    const Index half = dim / 2;
    const auto d = static_cast<double>(dim);
    double base = theta;
    if (how == scaling::dynamic) {
        const double length = std::max(static_cast<double>(tokens), max_length);
        base *= std::pow(factor * length / max_length - (factor - 1), d / (d - 2));
    }
    Eigen::VectorXd f(half);
    for (Index i = 0; i < half; ++i)
        f(i) = std::pow(base, -static_cast<double>(2 * i) / d);
    if (how == scaling::linear) f /= factor;
    if (how == scaling::llama3) f = f.unaryExpr([&](double v) { return llama3_frequency(*this, v); }).eval();
    if (how == scaling::yarn) {
        const Eigen::ArrayXd ramp = yarn_ramp(*this, half);
        f.array() *= (1 - ramp) + ramp / factor;
    }
    return f;
}

Eigen::MatrixXf rope::table(Index dim, Index first, Index count, Index tokens) const {
    const auto f = frequencies(dim, tokens);
    Eigen::MatrixXf result(dim, count);
    for (Index t = 0; t < count; ++t) {
        const Eigen::ArrayXd angle = static_cast<double>(first + t) * f.array();
        result.col(t).head(dim / 2) = (attention_factor * angle.cos()).cast<float>();
        result.col(t).tail(dim / 2) = (attention_factor * angle.sin()).cast<float>();
    }
    return result;
}

void rotate(Eigen::MatrixXf& x, const Eigen::MatrixXf& table) {
    const Index half = table.rows() / 2;
    const auto cosine = table.topRows(half).array();
    const auto sine = table.bottomRows(half).array();
    for (Index head = 0; head < x.rows(); head += 2 * half) {
        auto first = x.middleRows(head, half).array();
        auto second = x.middleRows(head + half, half).array();
        const Eigen::ArrayXXf old = first;
        first = old * cosine - second * sine;
        second = second * cosine + old * sine;
    }
}

}  // namespace llm
