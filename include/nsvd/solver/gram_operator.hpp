// SPDX-License-Identifier: MIT
/// The symmetric operator whose leading eigenvectors a stage wants, in single precision.
#pragma once

#include "../detail/blas.hpp"
#include "../detail/factorizations.hpp"
#include "../matrix.hpp"
#include "../metric.hpp"
#include "../workspace.hpp"
#include "choose.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <utility>

namespace nsvd::inline NSVD_ABI::detail {

/// `EᵀE` of the residual `E = W − Q Qᵀ W` (`m×n`) for the first columns of a Q that grows: what one stage has
/// formed of a tall W, the next one need not.
struct residual_gram {
    scratch lower;    ///< lower triangle, `n×n`
    index taken = 0;  ///< columns of Q

    /// Where later directions leave less than this part of it, what is left is too much its rounding.
    static constexpr double least_left = 0.05;
};

/// `G = B C Bᵀ·4^exponent` with `B = (W − Q Qᵀ W) D` (`m×n`), where the metric is `D C D`: `D` a diagonal
/// matrix and `C` of unit scale, or `I`. B and C are held in single precision, G is formed only on demand.
///
/// What is projected out is taken off in double before anything is rounded, so the rounding is relative to
/// what is left: an outlier channel spoils nothing once its direction is in Q.
/// A template for one reason: a program that does not call it does not pay for compiling it.
template <class = void>
class gram_operator {
public:
    /// `wq` is `Wᵀ Q`; `more` are further columns of Q, known to double precision.
    template <class Scalar>
    gram_operator(const dense_ref<Scalar>& w, const dense_matrix<Scalar>& q, const dense_ref<Scalar>& wq,
                  const Eigen::MatrixXd& more, const metric& m, workspace& pool)
        : metric_(m), pool_(pool) {
        load_scale(w.cols());
        if constexpr (std::same_as<Scalar, float>) {
            if (m.is_identity() && q.cols() + more.cols() == 0) {
                refer_to(w);
                exponent_ = 0;
                kept_ = whole_ = squared_norm();
                return;
            }
        }
        b_.emplace(pool, w.rows(), w.cols());
        refer_to(b_->matrix());
        // In `float` the projection of many directions is done in `float`, unless it leaves too little.
        constexpr index few = 128;
        bool precise = std::same_as<Scalar, double> || q.cols() <= few;
        for (;;) {
            if (precise)
                load<Scalar, double>(w, q, wq, more);
            else
                load<Scalar, float>(w, q, wq, more);
            if (!precise && kept_ < 1e-4 * whole_) {
                precise = true;
                continue;
            }
            const int exponent = binary_exponent(static_cast<double>(b().cwiseAbs().maxCoeff()));
            if (kept_ == 0.0 || exponent > -24) break;
            exponent_ += exponent;
        }
    }

    /// The same where the Gram matrix of an earlier residual is known; `WᵀQ` in two parts. B is not formed:
    /// all there is are `form_columns`, `form_right` and `map_back`. n²k flops for k columns of Q since
    /// then.
    template <class Scalar>
    gram_operator(const residual_gram& known, index rows, const dense_ref<Scalar>& wq,
                  const dense_matrix<Scalar>& w_more, const metric& m, workspace& pool)
        : metric_(m), pool_(pool), rows_(rows), cols_(wq.rows()) {
        load_scale(cols_);
        columns_.emplace(pool, cols_, cols_);
        auto e = columns_->matrix();
        const Eigen::VectorXf d = (scale_ * std::ldexp(1.0, -exponent_)).cast<float>();
        for (index j = 0; j < cols_; ++j) {
            const index below = cols_ - j;
            e.col(j).tail(below) = d(j) * known.lower.matrix().col(j).tail(below).cwiseProduct(d.tail(below));
            product_scale_ += 2.0 * e.col(j).tail(below).squaredNorm() - e(j, j) * e(j, j);
        }
        whole_ = e.diagonal().template cast<double>().sum();
        const index count = wq.cols() - known.taken;
        Eigen::MatrixXf since(cols_, count + w_more.cols());
        since << d.asDiagonal() * wq.rightCols(count).template cast<float>(),
            d.asDiagonal() * w_more.template cast<float>();
        add_gram_lower<float>(e, since, op::none, into::subtract);
        kept_ = e.diagonal().template cast<double>().sum();
    }

    /// Rows m and columns of B.
    [[nodiscard]] index rows() const noexcept { return rows_; }
    [[nodiscard]] index cols() const noexcept { return cols_; }
    /// G is this times `4^exponent()`.
    [[nodiscard]] int exponent() const noexcept { return exponent_; }
    /// ‖B‖²/‖W D‖², what the projection has left.
    [[nodiscard]] double share_left() const noexcept { return whole_ > 0.0 ? kept_ / whole_ : 0.0; }

    /// The scale of rounding in products with C, as the square of a Frobenius norm: that of `BᵀB`, were it
    /// flat.
    [[nodiscard]] double product_scale() const noexcept {
        return columns_ ? product_scale_ : kept_ * kept_ / static_cast<double>(cols());
    }

    /// `Y ← G X` for `m×p` matrices; 4mnp + 2n²p flops.
    void apply(dense_out<float> y, const dense_ref<float>& x) {
        scratch inner(pool_, cols(), x.cols());
        multiply_into<float>(inner.matrix(), b(), op::transpose, x, op::none);
        if (!has_inner()) return multiply_into<float>(y, b(), op::none, inner.matrix(), op::none);
        scratch middle(pool_, cols(), x.cols());
        if (keep_inner_) {
            load_inner();
            multiply_symmetric_into<float>(middle.matrix(), c_->matrix(), inner.matrix());
        } else {
            middle.matrix().setZero();
            for_each_block([&](index first, index count, const auto& c) {
                const index below = cols() - first - count;
                const auto from = inner.matrix().middleRows(first, count);
                const auto strip = c.bottomRows(below);
                multiply_into<float>(middle.matrix().bottomRows(below), strip, op::none, from, op::none,
                                     into::add);
                const Eigen::MatrixXf square = c.topRows(count).template selfadjointView<Eigen::Lower>();
                multiply_into<float>(middle.matrix().middleRows(first, count), square, op::none, from,
                                     op::none, into::add);
                multiply_into<float>(middle.matrix().middleRows(first, count), strip, op::transpose,
                                     inner.matrix().bottomRows(below), op::none, into::add);
            });
        }
        multiply_into<float>(y, b(), op::none, middle.matrix(), op::none);
    }

    /// C will be converted to single precision anew for each product, and not be kept: n² numbers less.
    void stream_inner() noexcept { keep_inner_ = false; }

    /// tr G; mn² flops.
    [[nodiscard]] double trace() {
        if (!has_inner()) return squared_norm();
        double sum = 0.0;
        if (!keep_inner_) {
            for_each_half([&](const auto& half, const auto& block) {
                for (index j = 0; j < block.cols(); ++j)
                    sum +=
                        2.0 * half.col(j).template cast<double>().dot(block.col(j).template cast<double>());
            });
            return sum;
        }
        // ⟨C, BᵀB⟩: the same flops, all of them in one symmetric product.
        load_inner();
        scratch weights(pool_, cols(), cols());
        weights.matrix().setZero();
        add_gram_lower<float>(weights.matrix(), b(), op::transpose);
        for (index j = 0; j < cols(); ++j) {
            const index below = cols() - j;
            const auto c = c_->matrix().col(j).tail(below).cast<double>();
            const auto w = weights.matrix().col(j).tail(below).cast<double>();
            sum += 2.0 * c.dot(w) - c(0) * w(0);
        }
        return sum;
    }

    /// The lower triangle of G (`m×m`): by halves of C, mn² + 2m²n flops, or where it is cheaper, and C has a
    /// Cholesky factor in single precision, by `B L`, mn² + m²n + n³/3; m²n without an inner matrix. The last
    /// use of B and C: no `apply` and no `trace` after it.
    [[nodiscard]] scratch form_left() {
        scratch g(pool_, rows(), rows());
        g.matrix().setZero();
        const bool factored = metric_.has_matrix() && worth_factoring(rows(), cols());
        if (factored) {
            load_inner();
            if (cholesky_lower<float>(c_->matrix()))
                multiply_right_lower(b_->matrix(), c_->matrix());
            else
                c_.reset();
        }
        if (has_inner() && !(factored && c_))
            for_each_half(
                [&](const auto& half, const auto& block) { add_symmetric_lower(g.matrix(), half, block); });
        else
            add_gram_lower<float>(g.matrix(), b(), op::none);
        return g;
    }

    /// The lower triangle of `BᵀB` (`n×n`); mn² flops. To be asked for once.
    [[nodiscard]] scratch form_columns() {
        if (columns_) return std::move(*columns_);
        scratch g(pool_, cols(), cols());
        g.matrix().setZero();
        add_gram_lower<float>(g.matrix(), b(), op::transpose);
        return g;
    }

    /// `EᵀE` from `BᵀB = D EᵀE D`, without rounding where D holds powers of two (a Gram matrix as metric).
    /// Nothing where channels are missing from B, or are close to underflow in it.
    [[nodiscard]] std::optional<residual_gram> unscale(const scratch& columns, index taken) {
        const Eigen::VectorXd d = scale_ * std::ldexp(1.0, -exponent_);
        constexpr double least = 0x1p-30;
        if (!(d.minCoeff() >= least)) return std::nullopt;
        residual_gram result{scratch(pool_, cols(), cols()), taken};
        const Eigen::VectorXf inverse = d.cwiseInverse().cast<float>();
        auto e = result.lower.matrix();
        for (index j = 0; j < cols(); ++j) {
            const index below = cols() - j;
            e.col(j).tail(below) =
                inverse(j) * columns.matrix().col(j).tail(below).cwiseProduct(inverse.tail(below));
        }
        return result;
    }

    /// The lower triangle of `Sᵀ BᵀB S` (`r×r`) with `C = S Sᵀ`, `S` its Cholesky factor where it has one in
    /// single precision, from `BᵀB`: the eigenvalues are those of G, the vectors are those that `map_back`
    /// takes. n³ flops and the factorization, nothing without an inner matrix. The last use of C: no `apply`
    /// and no `trace` after it.
    [[nodiscard]] scratch form_right(scratch g) {
        if (!has_inner()) return g;
        if (metric_.has_matrix()) {
            load_inner();
            if (cholesky_lower<float>(c_->matrix())) {
                multiply_two_sided(g.matrix(), c_->matrix());
                return g;
            }
            c_.reset();
        }
        root_ = metric_.factor().basis.cast<float>();
        scratch product(pool_, cols(), root_.cols());
        multiply_symmetric_into<float>(product.matrix(), g.matrix(), root_);
        scratch result(pool_, root_.cols(), root_.cols());
        multiply_into<float>(result.matrix(), root_, op::transpose, product.matrix(), op::none);
        return result;
    }

    /// `U ← B S V`: vectors that go with `form_right` to those of G, but for their lengths. `w`, `q` and
    /// `more` are those that the operator was made of.
    template <class Scalar>
    void map_back(dense_out<float> u, const dense_ref<float>& v, const dense_ref<Scalar>& w,
                  const dense_matrix<Scalar>& q, const Eigen::MatrixXd& more) {
        Eigen::MatrixXf inner = v;
        if (c_)
            multiply_left_lower(c_->matrix(), inner);
        else if (has_inner())
            inner = multiply<float>(root_, op::none, v, op::none);
        if (data_ != nullptr) return multiply_into<float>(u, b(), op::none, inner, op::none);
        inner = (scale_ * std::ldexp(1.0, -exponent_)).cast<float>().asDiagonal() * inner;
        dense_matrix<Scalar> result = multiply<Scalar>(w, op::none, inner.cast<Scalar>(), op::none);
        project_out<Scalar>(result, q);
        u = result.template cast<float>();
        project_out<float>(u, more.cast<float>());
    }

private:
    static constexpr index chunk = 256;

    using map = Eigen::Map<const Eigen::MatrixXf, 0, Eigen::OuterStride<>>;
    [[nodiscard]] map b() const { return {data_, rows_, cols_, Eigen::OuterStride<>(stride_)}; }
    void refer_to(const dense_ref<float>& matrix) {
        data_ = matrix.data();
        rows_ = matrix.rows();
        cols_ = matrix.cols();
        stride_ = matrix.outerStride();
    }
    [[nodiscard]] bool has_inner() const {
        return metric_.has_matrix() ||
               (!metric_.is_identity() && metric_.factor().kind != whitening::diagonal);
    }
    [[nodiscard]] double squared_norm() const {
        double sum = 0.0;
        for (index j = 0; j < cols(); ++j)
            sum += b().col(j).template cast<double>().squaredNorm();
        return sum;
    }

    /// D, less the power of two that makes its largest entry at most 1.
    void load_scale(index n) {
        scale_.setOnes(n);
        if (metric_.has_matrix()) {
            constexpr double least = std::numeric_limits<double>::min();
            for (index i = 0; i < n; ++i) {
                const double c = metric_.lower()(i, i) + metric_.shift();
                scale_(i) = c < least ? 0.0 : std::ldexp(1.0, binary_exponent(std::sqrt(c)));
            }
        } else if (!metric_.is_identity()) {
            scale_ = metric_.factor().scale;
        }
        inverse_scale_ = scale_.unaryExpr([](double d) { return d == 0.0 ? 0.0 : 1.0 / d; });
        exponent_ = binary_exponent(scale_.maxCoeff());
    }

    template <class Scalar, class Working>
    void load(const dense_ref<Scalar>& w, const dense_matrix<Scalar>& q, const dense_ref<Scalar>& wq,
              const Eigen::MatrixXd& more) {
        kept_ = whole_ = 0.0;
        std::optional<dense_matrix<Working>> q_converted;
        const dense_matrix<Working>& q_working = converted<Working>(q, q_converted);
        std::optional<dense_matrix<Working>> more_converted;
        const dense_matrix<Working>& more_working = converted<Working>(more, more_converted);
        dense_matrix<Working> block;
        const bool none = q.cols() + more.cols() == 0;
        const index panel = q.cols() + more.cols() <= 16 ? thin_panel(w.rows()) : chunk;
        for (index first = 0; first < w.cols(); first += panel) {
            const index count = std::min(panel, w.cols() - first);
            const auto columns = w.middleCols(first, count);
            const Eigen::VectorXd d = scale_.segment(first, count) * std::ldexp(1.0, -exponent_);
            auto target = b_->matrix().middleCols(first, count);
            if (none) {
                target = (columns.template cast<double>() * d.asDiagonal()).template cast<float>();
            } else {
                block = columns.template cast<Working>();
                for (index j = 0; j < count; ++j)
                    whole_ += static_cast<double>(block.col(j).squaredNorm()) * d(j) * d(j);
                if constexpr (std::same_as<Scalar, Working>)
                    multiply_into<Working>(block, q, op::none, wq.middleRows(first, count), op::transpose,
                                           into::subtract);
                else
                    project_out<Working>(block, q_working);
                project_out<Working>(block, more_working);
                target = (block * d.template cast<Working>().asDiagonal()).template cast<float>();
            }
            for (index j = 0; j < count; ++j)
                kept_ += static_cast<double>(target.col(j).squaredNorm());
        }
        if (none) whole_ = kept_;
    }

    /// `a` itself where it has that scalar, else a copy.
    template <class To, class From>
    static const dense_matrix<To>& converted(const dense_matrix<From>& a,
                                             std::optional<dense_matrix<To>>& copy) {
        if constexpr (std::same_as<To, From>)
            return a;
        else
            return copy.emplace(a.template cast<To>());
    }

    /// `C` below and on its diagonal, rows from `first` on, of `count` columns.
    void inner_columns(dense_out<float> target, index first, index count) const {
        if (c_) {
            target = c_->matrix().block(first, first, cols() - first, count);
            return;
        }
        if (!metric_.has_matrix()) {
            const Eigen::MatrixXd& basis = metric_.factor().basis;
            target = multiply(basis.bottomRows(basis.rows() - first), op::none,
                              basis.middleRows(first, count), op::transpose)
                         .template cast<float>();
            return;
        }
        const Eigen::MatrixXd& lower = metric_.lower();
        for (index j = 0; j < count; ++j) {
            const index column = first + j;
            const index rows = lower.rows() - column;
            target.col(j).head(j).setZero();
            target.col(j).tail(rows) = ((lower.col(column).tail(rows) * inverse_scale_(column))
                                            .cwiseProduct(inverse_scale_.tail(rows)))
                                           .template cast<float>();
            const double shift = metric_.shift() * inverse_scale_(column) * inverse_scale_(column);
            target(j, j) += static_cast<float>(shift);
        }
    }

    void load_inner() {
        if (c_) return;
        scratch c(pool_, cols(), cols());
        for (index first = 0; first < cols(); first += chunk) {
            const index count = std::min(chunk, cols() - first);
            inner_columns(c.matrix().block(first, first, cols() - first, count), first, count);
        }
        c_.emplace(std::move(c));
    }

    /// Calls `f(first, count, C_J)` for blocks J of columns of C, rows from the diagonal down; above the
    /// diagonal it is undefined. `f` may write to the block.
    template <class F>
    void for_each_block(F&& f) {
        scratch lower(pool_, cols(), chunk);
        for (index first = 0; first < cols(); first += chunk) {
            const index count = std::min(chunk, cols() - first);
            auto c = lower.matrix().topLeftCorner(cols() - first, count);
            inner_columns(c, first, count);
            f(first, count, c);
        }
    }

    /// Calls `f(P_J, B_J)` for blocks J of columns with `B C Bᵀ = Σ_J P_J B_Jᵀ + B_J P_Jᵀ`: half of `C`, its
    /// diagonal halved, is multiplied, mn² flops in all.
    template <class F>
    void for_each_half(F&& f) {
        scratch half(pool_, rows(), chunk);
        for_each_block([&](index first, index count, auto& c) {
            c.topRows(count).template triangularView<Eigen::StrictlyUpper>().setZero();
            c.diagonal() *= 0.5F;
            auto p = half.matrix().leftCols(count);
            multiply_into<float>(p, b().rightCols(cols() - first), op::none, c, op::none);
            f(p, b().middleCols(first, count));
        });
    }

    const metric& metric_;
    workspace& pool_;
    std::optional<scratch> b_;  ///< B, unless it is W itself
    const float* data_ = nullptr;
    index rows_ = 0;
    index cols_ = 0;
    index stride_ = 0;
    std::optional<scratch> c_;  ///< lower triangle, of C or of its Cholesky factor
    Eigen::MatrixXf root_;      ///< the factor of C where that is not it
    Eigen::VectorXd scale_;
    Eigen::VectorXd inverse_scale_;
    int exponent_ = 0;
    double kept_ = 0.0;
    double whole_ = 0.0;
    std::optional<scratch> columns_;  ///< BᵀB where it is known and B is not, and
    double product_scale_ = 0.0;      ///< its squared norm before what was added to Q was taken off
    bool keep_inner_ = true;
};

}  // namespace nsvd::inline NSVD_ABI::detail
