// SPDX-License-Identifier: MIT
/// A linear layer: dense, in factors or in pivots; in memory or in a file.
#pragma once

#include "product.hpp"

#include <nsvd/error.hpp>
#include <nsvd/low_rank.hpp>
#include <nsvd/pivoted_low_rank.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace llm {

class linear;

/// What W is kept as: itself, left·right, or some of its rows or columns and coefficients of the others.
enum class layer_form : std::uint8_t { dense, factors, kept_rows, kept_columns };

/// A layer that lies in a file until it is needed.
struct deferred_layer {
    deferred_layer(layer_form f, Eigen::Index m, Eigen::Index n, Eigen::Index k, std::int64_t count)
        : form(f), rows(m), cols(n), rank(k), parameters(count) {}
    deferred_layer(const deferred_layer&) = delete;
    deferred_layer& operator=(const deferred_layer&) = delete;
    virtual ~deferred_layer() = default;
    /// The layer in memory. Throws nsvd::error where it is not finite.
    [[nodiscard]] virtual linear read() const = 0;

    layer_form form;
    Eigen::Index rows, cols, rank;
    std::int64_t parameters;  ///< without the bias
};

/// y = W x + b with W (m×n) kept as it is, as left·right, or as some of its own rows or columns and the
/// coefficients of the others; b (m numbers) is optional. A deferred layer is read anew each time it is
/// used: take `loaded()` for more than one product. Copies share the numbers of W, which never change.
class linear {
public:
    using bias_vector = Eigen::VectorXf;  // empty: none

    linear() : linear(Eigen::MatrixXf()) {}
    explicit linear(Eigen::MatrixXf dense, bias_vector b = {})
        : weight_(std::make_shared<const weight>(std::move(dense))) {
        set_bias(std::move(b));
    }
    explicit linear(nsvd::low_rank<float> factors, bias_vector b = {})
        : weight_(std::make_shared<const weight>(std::move(factors))) {
        set_bias(std::move(b));
    }
    explicit linear(nsvd::pivoted_low_rank<float> pivoted, bias_vector b = {})
        : weight_(std::make_shared<const weight>(std::move(pivoted))) {
        set_bias(std::move(b));
    }

    explicit linear(std::shared_ptr<const deferred_layer> deferred, bias_vector b = {})
        : linear(Eigen::MatrixXf()) {
        deferred_ = std::move(deferred);
        set_bias(std::move(b));
    }

    [[nodiscard]] layer_form form() const {
        if (deferred_) return deferred_->form;
        if (dense() != nullptr) return layer_form::dense;
        if (factors() != nullptr) return layer_form::factors;
        return pivoted()->kept == nsvd::lines::rows ? layer_form::kept_rows : layer_form::kept_columns;
    }
    /// Columns of the left factor; min(m, n) for a dense layer.
    [[nodiscard]] Eigen::Index rank() const {
        if (deferred_) return deferred_->rank;
        if (const auto* f = factors()) return f->rank();
        return dense() != nullptr ? std::min(rows(), cols()) : pivoted()->left.cols();
    }
    // Null for layers of another form, and for deferred ones.
    [[nodiscard]] const Eigen::MatrixXf* dense() const {
        return deferred_ ? nullptr : std::get_if<Eigen::MatrixXf>(weight_.get());
    }
    [[nodiscard]] const nsvd::low_rank<float>* factors() const {
        return std::get_if<nsvd::low_rank<float>>(weight_.get());
    }
    [[nodiscard]] const nsvd::pivoted_low_rank<float>* pivoted() const {
        return std::get_if<nsvd::pivoted_low_rank<float>>(weight_.get());
    }
    [[nodiscard]] const deferred_layer* deferred() const { return deferred_.get(); }
    /// The same layer with its numbers in memory.
    [[nodiscard]] linear loaded() const {
        if (!deferred_) return *this;
        linear result = deferred_->read();
        result.set_bias(bias_);
        return result;
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
        if (deferred_) return deferred_->rows;
        return std::visit([](const auto& w) -> Eigen::Index { return w.rows(); }, *weight_);
    }
    [[nodiscard]] Eigen::Index cols() const {
        if (deferred_) return deferred_->cols;
        return std::visit([](const auto& w) -> Eigen::Index { return w.cols(); }, *weight_);
    }
    /// Numbers that have to be stored, the bias among them.
    [[nodiscard]] std::int64_t parameters() const {
        const auto count = [](const auto& w) -> std::int64_t {
            if constexpr (std::is_same_v<std::decay_t<decltype(w)>, Eigen::MatrixXf>)
                return w.size();
            else
                return w.parameters();
        };
        return (deferred_ ? deferred_->parameters : std::visit(count, *weight_)) + bias_.size();
    }

    /// W X + b for X (n×T, a column a token); factors are never multiplied back.
    [[nodiscard]] Eigen::MatrixXf apply(const Eigen::MatrixXf& x) const {
        if (deferred_) return loaded().apply(x);
        const auto multiply = [&](const auto& w) -> Eigen::MatrixXf {
            if constexpr (std::is_same_v<std::decay_t<decltype(w)>, Eigen::MatrixXf>)
                return llm::product(w, x);
            else
                return w * x;
        };
        Eigen::MatrixXf y = std::visit(multiply, *weight_);
        if (bias_.size() != 0) y.colwise() += bias_;
        return y;
    }

    /// W itself: a dense weight, or what the factors multiply to.
    [[nodiscard]] Eigen::MatrixXf product() const {
        if (deferred_) return deferred_->read().product();
        const auto multiplied = [](const auto& w) -> Eigen::MatrixXf {
            if constexpr (std::is_same_v<std::decay_t<decltype(w)>, Eigen::MatrixXf>)
                return w;
            else
                return w.dense();
        };
        return std::visit(multiplied, *weight_);
    }
    /// The same layer with W written out; nothing is copied where it is dense already.
    [[nodiscard]] linear multiplied() const {
        return form() == layer_form::dense ? *this : linear(product(), bias_);
    }

private:
    using weight = std::variant<Eigen::MatrixXf, nsvd::low_rank<float>, nsvd::pivoted_low_rank<float>>;
    std::shared_ptr<const weight> weight_;  // of an empty matrix while deferred
    std::shared_ptr<const deferred_layer> deferred_;
    bias_vector bias_;
};

}  // namespace llm
