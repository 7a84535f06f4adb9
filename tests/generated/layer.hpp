// SPDX-License-Identifier: MIT
/// The matrices of a case: as the library gets them, and in double over the powers of two they were scaled
/// by.
#pragma once

#include "layer_case.hpp"
#include "optimum.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace generated {

/// What the scalar of a case can't hold is rounded, so these are what is in `matrices` to the bit.
struct numbers {
    MatrixXd w, x, a;  ///< W, the inputs X, and those of the original model, for pairs
};

/// As drawn, before they are rounded to any scalar. Entries are about 1.
[[nodiscard]] inline numbers draw_numbers(const layer_case& c) {
    support::generator g(c.seed);
    numbers all;
    all.w = g.with_spectrum(c.m, c.n, support::make_spectrum(c.spectrum, c.full_rank())) *
            std::sqrt(static_cast<double>(std::max(c.m, c.n)));
    all.x = support::activations(
        g, c.n, c.tokens,
        {.condition = std::pow(10.0, c.condition), .outliers = c.outliers, .factor = 1000.0});
    const auto channels = [&](Index count, const auto& change) {
        for (Index i = 0; i < count; ++i)
            change(g.integer(0, c.n - 1));
    };
    channels(c.dead_channels, [&](Index i) { all.x.row(i).setZero(); });
    channels(c.constant_channels, [&](Index i) { all.x.row(i).setConstant(3.0); });
    // Each of them once.
    const Index first = g.integer(0, c.n - 1);
    for (Index j = 0; j < std::min(c.tiny_columns, c.n); ++j)
        all.w.col((first + j) % c.n) *= 0x1p-60;
    channels(c.equal_columns, [&](Index j) { all.w.col(j) = all.w.col(0); });
    for (Index i = 0; i < c.zero_rows; ++i)
        all.w.row(g.integer(0, c.m - 1)).setZero();
    all.a = all.x + 0.1 * g.gaussian(c.n, c.tokens);
    return all;
}

/// A matrix in memory in one of the layouts, with NaN between its numbers.
template <class Scalar>
class placed {
public:
    placed(const MatrixXd& numbers, layout how) {
        const Index m = numbers.rows(), n = numbers.cols();
        view_ = {nullptr, m, n, 1, m};
        if (how == layout::rows) view_ = {nullptr, m, n, n, 1};
        if (how == layout::block) view_ = {nullptr, m, n, 1, m + 3};
        if (how == layout::strided) view_ = {nullptr, m, n, 2, 2 * m + 5};
        const auto place = [&](Index i, Index j) {
            return static_cast<std::size_t>(i * view_.row_stride + j * view_.col_stride);
        };
        memory_.assign(place(m - 1, n - 1) + 1, std::numeric_limits<Scalar>::quiet_NaN());
        for (Index j = 0; j < n; ++j)
            for (Index i = 0; i < m; ++i)
                memory_[place(i, j)] = static_cast<Scalar>(numbers(i, j));
        view_.data = memory_.data();
    }
    placed(const placed&) = delete;
    placed& operator=(const placed&) = delete;

    [[nodiscard]] const nsvd::strided_view<Scalar>& view() const { return view_; }
    /// In double.
    [[nodiscard]] MatrixXd values() const {
        MatrixXd all(view_.rows, view_.cols);
        for (Index j = 0; j < view_.cols; ++j)
            for (Index i = 0; i < view_.rows; ++i)
                all(i, j) = static_cast<double>(view_.data[i * view_.row_stride + j * view_.col_stride]);
        return all;
    }

private:
    std::vector<Scalar> memory_;
    nsvd::strided_view<Scalar> view_;
};

/// `A·2^e`, also where 2^e itself is out of range.
[[nodiscard]] inline MatrixXd times_power(const MatrixXd& a, int e) {
    return a.unaryExpr([e](double v) { return std::ldexp(v, e); });
}

/// W, X and A of a case in its scalar.
template <class Scalar>
struct matrices {
    static constexpr bool in_double = std::is_same_v<Scalar, double>;
    using factor = std::conditional_t<in_double, double, float>;
    /// Of the factors.
    static constexpr double eps{std::numeric_limits<factor>::epsilon()};

    explicit matrices(const layer_case& c) : matrices(c, draw_numbers(c)) {}
    matrices(const layer_case& c, const numbers& drawn)
        : w_in(times_power(drawn.w, c.w_scale), c.layout),
          x_in(times_power(drawn.x, c.x_scale), c.layout),
          a_in(times_power(drawn.a, c.x_scale), c.layout),
          exact{times_power(w_in.values(), -c.w_scale), times_power(x_in.values(), -c.x_scale),
                times_power(a_in.values(), -c.x_scale)},
          calib(c.n, c.method == method::central ? nsvd::moments::central : nsvd::moments::raw) {
        if (c.method == method::anchored)
            calib.update(a_in.view(), x_in.view());
        else
            calib.update(x_in.view());
    }

    placed<Scalar> w_in, x_in, a_in;
    numbers exact;  ///< over 2^w_scale and 2^x_scale
    nsvd::calibration<Scalar> calib;
};

/// `f(matrices<Scalar>)` for the scalar of the case.
template <class F>
decltype(auto) with_matrices(const layer_case& c, F&& f) {
    switch (c.scalar) {
        case scalar::f32:
            return f(matrices<float>(c));
        case scalar::f16:
            return f(matrices<Eigen::half>(c));
        case scalar::bf16:
            return f(matrices<Eigen::bfloat16>(c));
        case scalar::f64:
            break;
    }
    return f(matrices<double>(c));
}

inline constexpr double blend = 0.01;
inline constexpr double epsilon = 0.03;  // of anchored

/// The method of the case with the given rank policy.
template <class Matrix, class Calibration, class Policy>
[[nodiscard]] auto decompose(const layer_case& c, const Matrix& w, const Calibration& calib,
                             const Policy& policy) {
    using nsvd::whitening;
    const double share = c.share / 1000.0;
    switch (c.method) {
        case method::diagonal:
            return nsvd::asvd(w, calib, policy, {.whitening = whitening::diagonal});
        case method::diagonal_max:
            return nsvd::asvd(w, calib, policy,
                              {.whitening = whitening::diagonal, .statistic = nsvd::statistic::max});
        case method::cholesky:
            return nsvd::asvd(w, calib, policy);
        case method::eigen:
            return nsvd::asvd(w, calib, policy, {.whitening = whitening::eigen});
        case method::blended:
            return nsvd::asvd(w, calib, policy, {.blend = blend});
        case method::central:
            return nsvd::asvd(w, calib, policy, {.moments = nsvd::moments::central});
        case method::nested:
            return nsvd::nested(w, calib, policy, {.share = share});
        case method::columns:
            return nsvd::nested(w, calib, policy,
                                {.share = share, .residual = nsvd::residual::interpolative});
        case method::anchored:
            return nsvd::anchored(w, calib, policy, {.epsilon = epsilon, .share = share});
        case method::svd:
            break;
    }
    return nsvd::svd(w, policy);
}

/// What a case asks for: the `m×n` target and what its error is measured behind, in exact units.
struct problem {
    MatrixXd target;  ///< W, but for `anchored`
    MatrixXd inputs;  ///< `n×t`: the first stage minimises ‖(target − W′) inputs‖
    double rounding;  ///< of what the library computes, in units of eps of the factors, beside their own
};

[[nodiscard]] inline problem problem_of(const layer_case& c, const numbers& exact) {
    const MatrixXd& x = exact.x;
    const auto beside = [&](double weight) {
        MatrixXd both(c.n, x.cols() + c.n);
        both << x,
            std::sqrt(weight * x.squaredNorm() / static_cast<double>(c.n)) * MatrixXd::Identity(c.n, c.n);
        return both;
    };
    const auto diagonal = [&](const VectorXd& statistic) {
        // The factor scaled by 2^(x_scale/2) would be the same for any scale.
        return MatrixXd(statistic.cwiseSqrt().asDiagonal());
    };
    switch (c.method) {
        case method::svd:
            return {exact.w, MatrixXd::Identity(c.n, c.n), 0.0};
        case method::diagonal:
            return {exact.w, diagonal(x.cwiseAbs().rowwise().mean()), 0.0};
        case method::diagonal_max:
            return {exact.w, diagonal(x.cwiseAbs().rowwise().maxCoeff()), 0.0};
        case method::blended:
            return {exact.w, beside(blend), 0.0};
        case method::central:
            return {exact.w, x.colwise() - x.rowwise().mean(), 0.0};
        case method::anchored: {
            const double weight = epsilon * x.squaredNorm() / static_cast<double>(c.n);
            // Without inputs there is nothing to solve.
            return {weight > 0.0 ? least_squares(exact.w, exact.a, x, weight) : exact.w, beside(epsilon),
                    1.0};
        }
        default:
            return {exact.w, x, 0.0};
    }
}

}  // namespace generated
