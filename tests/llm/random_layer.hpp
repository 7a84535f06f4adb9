// SPDX-License-Identifier: MIT
// Random linear layers in each form, and the W and b that they are, in double.
#pragma once

#include "linear.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <vector>

namespace llm_test {

enum class form { dense, factors, pivot_rows, pivot_columns };
inline constexpr std::array<form, 4> forms{form::dense, form::factors, form::pivot_rows, form::pivot_columns};

inline Eigen::MatrixXd gaussian(Eigen::Index m, Eigen::Index n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    Eigen::MatrixXd a(m, n);
    for (auto& x : a.reshaped())
        x = normal(random);
    return a;
}

struct made_layer {
    llm::linear layer;
    Eigen::MatrixXd weight;  // m×n
    Eigen::VectorXd bias;    // empty: none
};

/// A layer of m×n, of rank k unless dense; all its numbers are in single precision.
inline made_layer random_layer(form f, Eigen::Index m, Eigen::Index n, Eigen::Index k, bool biased,
                               unsigned seed) {
    using Eigen::Index;
    const auto numbers = [](Index rows, Index cols, unsigned s) -> Eigen::MatrixXf {
        return gaussian(rows, cols, s).cast<float>();
    };
    made_layer made;
    Eigen::VectorXf bias;
    if (biased) bias = numbers(m, 1, seed + 1);
    made.bias = bias.cast<double>();
    if (f == form::dense) {
        const auto w = numbers(m, n, seed);
        return {llm::linear(w, bias), w.cast<double>(), made.bias};
    }
    if (f == form::factors) {
        const auto left = numbers(m, k, seed), right = numbers(k, n, seed + 2);
        return {llm::linear(nsvd::low_rank<float>{left, right}, bias),
                left.cast<double>() * right.cast<double>(), made.bias};
    }
    const bool rows = f == form::pivot_rows;
    const Index lines = rows ? m : n;
    std::vector<Index> order(static_cast<std::size_t>(lines));
    std::iota(order.begin(), order.end(), Index{0});
    std::shuffle(order.begin(), order.end(), std::mt19937(seed + 3));
    order.resize(static_cast<std::size_t>(k));
    std::sort(order.begin(), order.end());
    const std::vector<Index>& kept = order;

    const auto left = numbers(rows ? m - k : m, k, seed), right = numbers(k, rows ? n : n - k, seed + 2);
    const Eigen::MatrixXd l = left.cast<double>(), r = right.cast<double>();
    made.weight.resize(m, n);
    for (Index i = 0; i < lines; ++i) {
        const auto position = std::lower_bound(kept.begin(), kept.end(), i) - kept.begin();
        const bool is_kept = position < k && kept[static_cast<std::size_t>(position)] == i;
        const Index other = i - position;
        if (rows)
            made.weight.row(i) =
                is_kept ? Eigen::RowVectorXd(r.row(position)) : Eigen::RowVectorXd(l.row(other) * r);
        else
            made.weight.col(i) =
                is_kept ? Eigen::VectorXd(l.col(position)) : Eigen::VectorXd(l * r.col(other));
    }
    made.layer = llm::linear(
        nsvd::pivoted_low_rank<float>{rows ? nsvd::lines::rows : nsvd::lines::columns, kept, left, right},
        bias);
    return made;
}

}  // namespace llm_test
