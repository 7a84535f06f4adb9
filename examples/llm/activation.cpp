// SPDX-License-Identifier: MIT
#include "activation.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace llm {
namespace {

struct known_name {
    std::string_view name;
    activation which;
};

constexpr std::array<known_name, 6> known{{{"silu", activation::silu},
                                           {"swish", activation::silu},
                                           {"relu", activation::relu},
                                           {"gelu", activation::gelu},
                                           {"gelu_new", activation::gelu_tanh},
                                           {"gelu_pytorch_tanh", activation::gelu_tanh}}};

}  // namespace

std::optional<activation> activation_named(std::string_view name) {
    const auto* found = std::find_if(known.begin(), known.end(), [&](auto& k) { return k.name == name; });
    return found == known.end() ? std::nullopt : std::optional(found->which);
}

std::string activation_names() {
    std::vector<std::string_view> names;
    for (const auto& k : known)
        names.push_back(k.name);
    return fmt::format("{}", fmt::join(names, ", "));
}

Eigen::MatrixXf activated(activation which, const Eigen::MatrixXf& x) {
    switch (which) {
        case activation::relu:
            return x.cwiseMax(0.0F);
        case activation::gelu:
            return x.unaryExpr(
                [](float v) { return v / 2 * std::erfc(-v * std::numbers::sqrt2_v<float> / 2); });
        case activation::gelu_tanh: {
            constexpr float scale = 0.7978845608F;  // √(2/π)
            return x.array() / 2 * (1 + (scale * (x.array() + 0.044715F * x.array().cube())).tanh());
        }
        default:
            return x.array() / (1 + (-x.array()).exp());
    }
}

}  // namespace llm
