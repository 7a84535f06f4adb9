// SPDX-License-Identifier: MIT
/// A linear layer: dense, in factors or in pivots.
#pragma once

#include <nsvd/error.hpp>
#include <nsvd/low_rank.hpp>
#include <nsvd/pivoted_low_rank.hpp>

#include <Eigen/Core>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace llm {

/// y = W x + b with W (m×n) kept as it is, as left·right, or as some of its own rows or columns and the
/// coefficients of the others; b (m numbers) is optional.
class linear {
public:
    using bias_vector = Eigen::VectorXf;  // empty: none

    linear() = default;
    explicit linear(Eigen::MatrixXf dense, bias_vector b = {}) : weight_(std::move(dense)) {
        set_bias(std::move(b));
    }
    explicit linear(nsvd::low_rank<float> factors, bias_vector b = {}) : weight_(std::move(factors)) {
        set_bias(std::move(b));
    }
    explicit linear(nsvd::pivoted_low_rank<float> pivoted, bias_vector b = {}) : weight_(std::move(pivoted)) {
        set_bias(std::move(b));
    }

    [[nodiscard]] const Eigen::MatrixXf* dense() const { return std::get_if<Eigen::MatrixXf>(&weight_); }
    [[nodiscard]] const nsvd::low_rank<float>* factors() const {
        return std::get_if<nsvd::low_rank<float>>(&weight_);
    }
    [[nodiscard]] const nsvd::pivoted_low_rank<float>* pivoted() const {
        return std::get_if<nsvd::pivoted_low_rank<float>>(&weight_);
    }
    [[nodiscard]] const bias_vector& bias() const { return bias_; }
    /// Empty: no bias. Throws nsvd::error unless there are m numbers or none.
    void set_bias(bias_vector b) {
        if (b.size() != 0 && b.size() != rows())
            throw nsvd::error("linear: a bias of " + std::to_string(b.size()) + " numbers for a weight of " +
                              std::to_string(rows()) + " rows");
        bias_ = std::move(b);
    }

    [[nodiscard]] Eigen::Index rows() const {
        return std::visit([](const auto& w) -> Eigen::Index { return w.rows(); }, weight_);
    }
    [[nodiscard]] Eigen::Index cols() const {
        return std::visit([](const auto& w) -> Eigen::Index { return w.cols(); }, weight_);
    }
    /// Numbers that have to be stored, the bias among them.
    [[nodiscard]] std::int64_t parameters() const {
        const auto count = [](const auto& w) -> std::int64_t {
            if constexpr (std::is_same_v<std::decay_t<decltype(w)>, Eigen::MatrixXf>)
                return w.size();
            else
                return w.parameters();
        };
        return std::visit(count, weight_) + bias_.size();
    }

    /// W X + b for X (n×T, a column a token); factors are never multiplied back.
    [[nodiscard]] Eigen::MatrixXf apply(const Eigen::MatrixXf& x) const {
        Eigen::MatrixXf y = std::visit([&](const auto& w) -> Eigen::MatrixXf { return w * x; }, weight_);
        if (bias_.size() != 0) y.colwise() += bias_;
        return y;
    }

    /// W itself: a dense weight, or what the factors multiply to.
    [[nodiscard]] Eigen::MatrixXf product() const {
        const auto multiplied = [](const auto& w) -> Eigen::MatrixXf {
            if constexpr (std::is_same_v<std::decay_t<decltype(w)>, Eigen::MatrixXf>)
                return w;
            else
                return w.dense();
        };
        return std::visit(multiplied, weight_);
    }
    /// Gives W away: a dense weight is moved out, of factors it is their product.
    [[nodiscard]] Eigen::MatrixXf release_product() && {
        return dense() ? std::get<Eigen::MatrixXf>(std::move(weight_)) : product();
    }

private:
    std::variant<Eigen::MatrixXf, nsvd::low_rank<float>, nsvd::pivoted_low_rank<float>> weight_;
    bias_vector bias_;
};

}  // namespace llm
