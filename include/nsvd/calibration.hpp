// SPDX-License-Identifier: MIT
/// Streaming statistics of a layer's inputs.
#pragma once

#include "detail/blas.hpp"
#include "matrix.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

namespace nsvd::inline NSVD_ABI {

/// Everything a calibration knows, as plain numbers: what a file holds. Sums run over all tokens, each times
/// its weight.
struct calibration_state {
    Eigen::MatrixXd gram;     ///< n×n, Σ w x xᵀ; only the lower triangle is read
    Eigen::VectorXd sum;      ///< n, Σ w x
    Eigen::VectorXd sum_abs;  ///< n, Σ w |x|
    Eigen::VectorXd max_abs;  ///< n, max |x|
    std::int64_t tokens = 0;  ///< columns seen with a weight above 0
    double weight = 0.0;      ///< Σ w
};

namespace detail {

template <class T>
constexpr bool is_two_dimensional() {
    if constexpr (eigen_matrix<T>)
        return !T::IsVectorAtCompileTime;
    else
        return false;
}

/// Indexable numbers or bools, but no matrix of two dimensions.
template <class T>
concept weight_range = !is_two_dimensional<T>() && requires(const T& w) {
    static_cast<double>(w[0]);
    w.size();
};

}  // namespace detail

/// Statistics of the inputs `X` (`n×T`, a column a token) of a linear layer `y = W x`: the Gram matrix
/// `C = X Xᵀ`, the mean, the mean and the largest absolute value of each channel.
///
/// Sums are kept in double whatever the scalar of the inputs; products of `float` entries are exact in
/// double. `Scalar` is the nominal scalar of the activations and only a label: every `update` accepts any
/// scalar. One calibration serves all layers that see the same input (q, k, v; gate, up).
///
/// Not thread-safe: give each thread its own and `merge` them in a fixed order, which makes the result
/// reproducible. Limits: |x| < 2^450 and weights below 2^100, so that their products can be summed; squares
/// of entries below 2^-511 vanish.
template <real_scalar Scalar = float>
class calibration {
public:
    using scalar = Scalar;

    /// Empty statistics of `features` = n channels. Throws `nsvd::error` unless n ≥ 1.
    explicit calibration(index features) {
        if (features < 1)
            throw error("calibration: features = " + std::to_string(features) + " must be at least 1");
        state_.gram.setZero(features, features);
        state_.sum.setZero(features);
        state_.sum_abs.setZero(features);
        state_.max_abs.setZero(features);
    }

    /// Takes over stored statistics; throws `nsvd::error` if they can't be those of any inputs (shapes,
    /// non-finite or negative values, `c_ij² > c_ii c_jj` beyond rounding).
    explicit calibration(calibration_state state);

    /// Adds the tokens in the columns of `x` (`n×t`); t·n² flops. Of a matrix in memory no more than blocks
    /// of 512 columns are copied. Throws `nsvd::error`, leaving the statistics as they were, if the rows are
    /// not `features()`, there are no columns, or an entry is not finite.
    template <matrix X>
    void update(const X& x) {
        add(x, [](index) { return 1.0; });
    }

    /// The same with a weight for each token: any indexable range of t nonnegative numbers, or of bool: a
    /// mask, true for the tokens that count. A token of weight 0 is not looked at, whatever its numbers; a
    /// weight w counts like w repetitions of the token, except that `tokens()` counts it once.
    template <matrix X, class Weights>
    requires detail::weight_range<Weights>
    void update(const X& x, const Weights& weights) {
        const index columns = detail::extent(x).second;
        if (static_cast<index>(weights.size()) != columns)
            throw error("calibration.update: " + std::to_string(weights.size()) + " weights for " +
                        std::to_string(columns) + " tokens");
        const auto weight = [&weights](index t) {
            return static_cast<double>(weights[static_cast<decltype(weights.size())>(t)]);
        };
        for (index t = 0; t < columns; ++t)
            if (!(weight(t) >= 0.0 && weight(t) < weight_limit))
                throw error("calibration.update: weight " + std::to_string(t) + " = " +
                            detail::text(weight(t)) + " must be in [0, 2^100)");
        add(x, weight);
    }

    /// Adds the statistics of `other` (another thread, file or machine), as if its tokens had been seen here.
    /// Throws `nsvd::error` if the features differ.
    template <real_scalar Other>
    void merge(const calibration<Other>& other) {
        const calibration_state& o = other.state();
        if (other.features() != features())
            throw error("calibration.merge: other has " + std::to_string(other.features()) +
                        " features, this has " + std::to_string(features()));
        state_.gram.triangularView<Eigen::Lower>() += o.gram;
        state_.sum += o.sum;
        state_.sum_abs += o.sum_abs;
        state_.max_abs = state_.max_abs.cwiseMax(o.max_abs);
        state_.tokens += o.tokens;
        state_.weight += o.weight;
    }

    [[nodiscard]] index features() const noexcept { return state_.sum.size(); }
    /// Columns seen, those of weight 0 excepted.
    [[nodiscard]] std::int64_t tokens() const noexcept { return state_.tokens; }
    /// Sum of the weights; equal to `tokens()` where none were given.
    [[nodiscard]] double weight() const noexcept { return state_.weight; }

    /// The Gram matrix `C = Σ w x xᵀ`, full symmetric `n×n`; the plain sum, not divided by the tokens. A
    /// copy.
    [[nodiscard]] Eigen::MatrixXd gram() const {
        return state_.gram.template selfadjointView<Eigen::Lower>();
    }
    /// Mean of each channel; 0 where no token was seen.
    [[nodiscard]] Eigen::VectorXd mean() const { return average(state_.sum); }
    /// Mean absolute value of each channel; 0 where no token was seen.
    [[nodiscard]] Eigen::VectorXd mean_abs() const { return average(state_.sum_abs); }
    /// Largest absolute value of each channel.
    [[nodiscard]] const Eigen::VectorXd& max_abs() const noexcept { return state_.max_abs; }
    /// All sums, for writing to a file. Only the lower triangle of `gram` is set.
    [[nodiscard]] const calibration_state& state() const noexcept { return state_; }

private:
    static constexpr double entry_limit = 0x1p450;
    static constexpr double weight_limit = 0x1p100;
    static constexpr index block = 512;

    [[nodiscard]] Eigen::VectorXd average(const Eigen::VectorXd& sum) const {
        return state_.weight > 0.0 ? Eigen::VectorXd(sum / state_.weight) : Eigen::VectorXd::Zero(sum.size());
    }

    template <matrix X, class Weight>
    void add(const X& x, Weight&& weight);

    calibration_state state_;
};

template <real_scalar Scalar>
template <matrix X, class Weight>
void calibration<Scalar>::add(const X& x, Weight&& weight) {
    detail::with_expression(x, [&](const auto& expression) {
        if (expression.rows() != features())
            throw error("calibration.update: x is " +
                        detail::shape_text(index{expression.rows()}, index{expression.cols()}) +
                        " but there are " + std::to_string(features()) + " features");
        detail::require_nonempty(index{expression.rows()}, index{expression.cols()}, "calibration.update: x");
        // All is checked before anything is added, so that a bad entry leaves nothing half done.
        for (index t = 0; t < expression.cols(); ++t) {
            if (weight(t) == 0.0) continue;
            detail::require_finite(expression.col(t), "calibration.update: x", t);
            if constexpr (std::same_as<typename std::remove_cvref_t<decltype(expression)>::Scalar, double>) {
                if (const double largest = expression.col(t).cwiseAbs().maxCoeff(); largest >= entry_limit)
                    throw error("calibration.update: max |x| = " + detail::text(largest) +
                                " is too large: entries must be below 2^450");
            }
        }
        Eigen::MatrixXd columns(features(), std::min<index>(block, expression.cols()));
        for (index first = 0; first < expression.cols(); first += block) {
            const index count = std::min<index>(block, expression.cols() - first);
            for (index t = 0; t < count; ++t) {
                auto column = columns.col(t);
                const double w = weight(first + t);
                if (w == 0.0) {
                    column.setZero();
                    continue;
                }
                column = expression.col(first + t).template cast<double>();
                state_.sum += w * column;
                state_.sum_abs += w * column.cwiseAbs();
                state_.max_abs = state_.max_abs.cwiseMax(column.cwiseAbs());
                state_.tokens += 1;
                state_.weight += w;
                if (w != 1.0) column *= std::sqrt(w);
            }
            detail::add_gram_lower<double>(state_.gram, columns.leftCols(count), detail::op::none);
        }
    });
}

template <real_scalar Scalar>
calibration<Scalar>::calibration(calibration_state state) : state_(std::move(state)) {
    const index n = state_.sum.size();
    const auto fail = [](const std::string& what) { throw error("calibration: stored statistics: " + what); };
    if (n < 1 || state_.gram.rows() != n || state_.gram.cols() != n || state_.sum_abs.size() != n ||
        state_.max_abs.size() != n)
        fail("shapes do not belong together (gram " +
             detail::shape_text(index{state_.gram.rows()}, index{state_.gram.cols()}) + ", " +
             std::to_string(n) + " features)");
    const Eigen::MatrixXd gram = this->gram();
    if (!gram.allFinite() || !state_.sum.allFinite() || !state_.sum_abs.allFinite() ||
        !state_.max_abs.allFinite() || !std::isfinite(state_.weight))
        fail("an entry is not finite");
    if (state_.tokens < 0 || state_.weight < 0.0 || (state_.tokens == 0) != (state_.weight == 0.0))
        fail("tokens = " + std::to_string(state_.tokens) + " with weight " + detail::text(state_.weight));
    constexpr double slack = 1.0 + 1e-6;
    for (index j = 0; j < n; ++j) {
        // Squares of tiny entries vanish before their products with others do.
        const double least = std::numeric_limits<double>::min();
        const double most = state_.weight * state_.max_abs(j);
        if (gram(j, j) < 0.0 || !(state_.sum_abs(j) <= most * slack) ||
            !(gram(j, j) <= most * state_.max_abs(j) * slack) ||
            std::abs(state_.sum(j)) > state_.sum_abs(j) * slack)
            fail("channel " + std::to_string(j) + " can't belong to any inputs");
        const double diagonal = std::sqrt(std::max(gram(j, j), least));
        for (index i = 0; i < j; ++i)
            if (std::abs(gram(i, j)) > diagonal * std::sqrt(std::max(gram(i, i), least)) * slack)
                fail("gram(" + std::to_string(i) + ", " + std::to_string(j) +
                     ") = " + detail::text(gram(i, j)) + " is larger than the diagonal allows");
    }
}

}  // namespace nsvd::inline NSVD_ABI
