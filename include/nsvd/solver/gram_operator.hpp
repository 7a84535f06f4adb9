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
template <class Real = float>
class gram_operator {
    using dense = dense_matrix<Real>;

public:
    /// `wq` is `Wᵀ Q`; `more` are further columns of Q, known to double precision.
    template <class Scalar>
    gram_operator(dense_ref<Scalar> w, const dense_matrix<Scalar>& q, dense_ref<Scalar> wq,
                  const Eigen::MatrixXd& more, const metric& m, workspace& pool)
        : metric_(m), pool_(pool) {
        load_scale(w.cols());
        if constexpr (std::same_as<Scalar, Real>) {
            if (m.is_identity() && q.cols() + more.cols() == 0) {
                refer_to(w);
                exponent_ = 0;
                kept_ = whole_ = squared_norm<Real>(b());
                return;
            }
        }
        b_.emplace(pool, w.rows(), w.cols());
        refer_to(b_->span());
        // In `float` the projection of many directions is done in `float`, unless it leaves too little.
        constexpr index few = 128;
        bool precise = std::same_as<Scalar, double> || q.cols() <= few;
        for (;;) {
            if (precise)
                load<Scalar, double>(w, q, wq, more);
            else
                load<Scalar, Real>(w, q, wq, more);
            if (!precise && kept_ < 1e-4 * whole_) {
                precise = true;
                continue;
            }
            const int exponent = binary_exponent(largest_entry<Real>(b()));
            if (kept_ == 0.0 || exponent > -24) break;
            exponent_ += exponent;
        }
    }

    /// The same where the Gram matrix of an earlier residual is known; `WᵀQ` in two parts. B is not formed:
    /// all there is are `form_columns`, `form_right` and `map_back`. n²k flops for k columns of Q since
    /// then.
    template <class Scalar>
    gram_operator(const residual_gram& known, index rows, dense_ref<Scalar> wq,
                  const dense_matrix<Scalar>& w_more, const metric& m, workspace& pool)
        : metric_(m), pool_(pool), rows_(rows), cols_(wq.rows()) {
        load_scale(cols_);
        columns_.emplace(pool, cols_, cols_);
        const dense_span<Real> e = columns_->span();
        const vector<double> precise = relative_scale();
        const vector<Real> d = converted<Real, double>(precise);
        scale_lower(e, known.lower.span(), d);
        for (index j = 0; j < cols_; ++j)
            product_scale_ += 2.0 * squared_norm<Real>(e.block(j, j, cols_ - j, 1)) - e(j, j) * e(j, j);
        whole_ = trace_of<Real>(e);
        const index count = wq.cols() - known.taken;
        dense since(cols_, count + w_more.cols());
        const dense_span<Real> taken(since);
        assign<Real, Scalar>(taken.leftCols(count), wq.rightCols(count));
        assign<Real, Scalar>(taken.rightCols(w_more.cols()), w_more);
        scale_rows<Real>(taken, d.data());
        add_gram_lower<Real>(e, taken, op::none, into::subtract);
        kept_ = trace_of<Real>(e);
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
    void apply(dense_out<Real> y, dense_ref<Real> x) {
        scratch inner(pool_, cols(), x.cols());
        multiply_into<Real>(inner.span(), b(), op::transpose, x, op::none);
        if (!has_inner()) return multiply_into<Real>(y, b(), op::none, inner.span(), op::none);
        scratch middle(pool_, cols(), x.cols());
        load_inner();
        multiply_symmetric_into<Real>(middle.span(), c_->span(), inner.span());
        multiply_into<Real>(y, b(), op::none, middle.span(), op::none);
    }

    /// tr G; mn² flops.
    [[nodiscard]] double trace() {
        if (!has_inner()) return squared_norm<Real>(b());
        double sum = 0.0;
        // ⟨C, BᵀB⟩: the same flops, all of them in one symmetric product.
        load_inner();
        scratch weights(pool_, cols(), cols());
        set_constant<Real>(weights.span(), Real(0));
        add_gram_lower<Real>(weights.span(), b(), op::transpose);
        for (index j = 0; j < cols(); ++j) {
            const index below = cols() - j;
            const dense_ref<Real> c = c_->span().block(j, j, below, 1);
            const dense_ref<Real> w = weights.span().block(j, j, below, 1);
            sum +=
                2.0 * inner_product<Real>(c, w) - static_cast<double>(c(0, 0)) * static_cast<double>(w(0, 0));
        }
        return sum;
    }

    /// The lower triangle of G (`m×m`): by halves of C, mn² + 2m²n flops, or where it is cheaper, and C has a
    /// Cholesky factor in single precision, by `B L`, mn² + m²n + n³/3; m²n without an inner matrix. The last
    /// use of B and C: no `apply` and no `trace` after it.
    [[nodiscard]] scratch form_left() {
        scratch g(pool_, rows(), rows());
        set_constant<Real>(g.span(), Real(0));
        const bool factored = metric_.has_matrix() && worth_factoring(rows(), cols());
        if (factored) {
            load_inner();
            if (cholesky_lower<Real>(c_->span()))
                multiply_lower<Real>(c_->span(), b_->span(), false);
            else
                c_.reset();
        }
        if (has_inner() && !(factored && c_))
            for_each_half([&](dense_ref<Real> half, dense_ref<Real> block) {
                add_symmetric_lower<Real>(g.span(), half, block);
            });
        else
            add_gram_lower<Real>(g.span(), b(), op::none);
        return g;
    }

    /// The lower triangle of `BᵀB` (`n×n`); mn² flops. To be asked for once.
    [[nodiscard]] scratch form_columns() {
        if (columns_) return std::move(*columns_);
        scratch g(pool_, cols(), cols());
        set_constant<Real>(g.span(), Real(0));
        add_gram_lower<Real>(g.span(), b(), op::transpose);
        return g;
    }

    /// `EᵀE` from `BᵀB = D EᵀE D`, without rounding where D holds powers of two (a Gram matrix as metric).
    /// Nothing where channels are missing from B, or are close to underflow in it.
    [[nodiscard]] std::optional<residual_gram> unscale(const scratch& columns, index taken) {
        constexpr double least = 0x1p-30;
        vector<Real> inverse(cols());
        const vector<double> d = relative_scale();
        for (index j = 0; j < cols(); ++j) {
            if (!(d(j) >= least)) return std::nullopt;
            inverse(j) = static_cast<Real>(1.0 / d(j));
        }
        residual_gram result{scratch(pool_, cols(), cols()), taken};
        scale_lower(result.lower.span(), columns.span(), inverse);
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
            if (cholesky_lower<Real>(c_->span())) {
                multiply_two_sided<Real>(g.span(), c_->span());
                return g;
            }
            c_.reset();
        }
        root_ = converted<Real, double>(metric_.factor().basis);
        scratch product(pool_, cols(), root_.cols());
        multiply_symmetric_into<Real>(product.span(), g.span(), root_);
        scratch result(pool_, root_.cols(), root_.cols());
        multiply_into<Real>(result.span(), root_, op::transpose, product.span(), op::none);
        return result;
    }

    /// `U ← B S V`: vectors that go with `form_right` to those of G, but for their lengths. `w`, `q` and
    /// `more` are those that the operator was made of.
    template <class Scalar>
    void map_back(dense_out<Real> u, dense_ref<Real> v, dense_ref<Scalar> w, const dense_matrix<Scalar>& q,
                  const Eigen::MatrixXd& more) {
        dense inner =
            c_ || !has_inner() ? converted<Real, Real>(v) : multiply<Real>(root_, op::none, v, op::none);
        if (c_) multiply_lower<Real>(c_->span(), inner, true);
        if (data_ != nullptr) return multiply_into<Real>(u, b(), op::none, inner, op::none);
        const vector<double> d = relative_scale();
        const dense_matrix<Real> rounded = converted<Real, double>(d);
        scale_rows<Real>(inner, rounded.data());
        dense_matrix<Scalar> result = multiply<Scalar>(w, op::none, converted<Scalar, Real>(inner), op::none);
        project_out<Scalar>(result, q);
        assign<Real, Scalar>(u, result);
        project_out<Real>(u, converted<Real, double>(more));
    }

private:
    static constexpr index chunk = 256;

    [[nodiscard]] dense_ref<Real> b() const { return {data_, rows_, cols_, stride_}; }
    void refer_to(dense_ref<Real> matrix) {
        data_ = matrix.data();
        rows_ = matrix.rows();
        cols_ = matrix.cols();
        stride_ = matrix.outerStride();
    }
    [[nodiscard]] bool has_inner() const {
        return metric_.has_matrix() ||
               (!metric_.is_identity() && metric_.factor().kind != whitening::diagonal);
    }
    /// D over the power of two that makes its largest entry at most 1, and over what was taken into the
    /// exponent.
    [[nodiscard]] vector<double> relative_scale() const {
        vector<double> d = scale_;
        for (double& entry : d)
            entry = std::ldexp(entry, -exponent_);
        return d;
    }
    /// `E ← diag(d) A diag(d)`, lower triangles.
    static void scale_lower(dense_span<Real> e, dense_ref<Real> a, const vector<Real>& d) {
        for (index j = 0; j < a.cols(); ++j)
            for (index i = j; i < a.rows(); ++i)
                e(i, j) = d.data()[j] * (a(i, j) * d.data()[i]);
    }

    /// D, less the power of two that makes its largest entry at most 1.
    void load_scale(index n) {
        scale_.resize(n);
        std::fill(scale_.begin(), scale_.end(), 1.0);
        if (metric_.has_matrix()) {
            constexpr double least = std::numeric_limits<double>::min();
            for (index i = 0; i < n; ++i) {
                const double c = metric_.lower()(i, i) + metric_.shift();
                scale_(i) = c < least ? 0.0 : std::ldexp(1.0, binary_exponent(std::sqrt(c)));
            }
        } else if (!metric_.is_identity()) {
            scale_ = metric_.factor().scale;
        }
        inverse_scale_.resize(n);
        for (index i = 0; i < n; ++i)
            inverse_scale_(i) = scale_(i) == 0.0 ? 0.0 : 1.0 / scale_(i);
        exponent_ = binary_exponent(*std::max_element(scale_.begin(), scale_.end()));
    }

    template <class Scalar, class Working>
    void load(dense_ref<Scalar> w, const dense_matrix<Scalar>& q, dense_ref<Scalar> wq,
              const Eigen::MatrixXd& more) {
        kept_ = whole_ = 0.0;
        dense_matrix<Working> q_copy;
        dense_matrix<Working> more_copy;
        const dense_ref<Working> q_working = in_scalar<Working, Scalar>(q, q_copy);
        const dense_ref<Working> more_working = in_scalar<Working, double>(more, more_copy);
        const bool none = q.cols() + more.cols() == 0;
        const vector<double> d = relative_scale();
        const index panel = q.cols() + more.cols() <= 16 ? thin_panel(w.rows()) : chunk;
        dense_matrix<Working> memory(w.rows(), none ? 0 : std::min(panel, w.cols()));
        for (index first = 0; first < w.cols(); first += panel) {
            const index count = std::min(panel, w.cols() - first);
            const dense_ref<Scalar> columns = w.middleCols(first, count);
            const dense_span<Real> target = b_->span().middleCols(first, count);
            if (none) {
                assign_scaled<Real, Scalar>(target, columns, d.data() + first);
            } else {
                const dense_span<Working> block = dense_span<Working>(memory).leftCols(count);
                assign<Working, Scalar>(block, columns);
                for (index j = 0; j < count; ++j)
                    whole_ += squared_norm_of_column<Working>(block, j) * d(first + j) * d(first + j);
                if constexpr (std::same_as<Scalar, Working>)
                    multiply_into<Working>(block, q, op::none, wq.middleRows(first, count), op::transpose,
                                           into::subtract);
                else
                    project_out<Working>(block, q_working);
                project_out<Working>(block, more_working);
                assign_scaled<Real, Working>(target, block, d.data() + first);
            }
            kept_ += squared_norm<Real>(target);
        }
        if (none) whole_ = kept_;
    }

    /// `a` itself where it has that scalar, else a copy.
    template <class To, class From>
    [[nodiscard]] static dense_ref<To> in_scalar(dense_ref<From> a, dense_matrix<To>& copy) {
        if constexpr (std::same_as<To, From>) {
            return a;
        } else {
            copy = converted<To, From>(a);
            return copy;
        }
    }

    /// `C` below and on its diagonal, rows from `first` on, of `count` columns.
    void inner_columns(dense_out<Real> target, index first, index count) const {
        if (c_) return assign<Real, Real>(target, c_->span().block(first, first, cols() - first, count));
        if (!metric_.has_matrix()) {
            const dense_ref<double> basis(metric_.factor().basis);
            assign<Real, double>(target, multiply(basis.bottomRows(basis.rows() - first), op::none,
                                                  basis.middleRows(first, count), op::transpose));
            return;
        }
        const dense_ref<double> lower(metric_.lower());
        for (index j = 0; j < count; ++j) {
            const index column = first + j;
            const double scale = inverse_scale_.data()[column];
            const double* const from = lower.col(column) + first;
            const double* const scales = inverse_scale_.data() + first;
            Real* const to = target.col(j);
            std::fill_n(to, j, Real(0));
            for (index i = j; i < target.rows(); ++i)
                to[i] = static_cast<Real>(from[i] * scale * scales[i]);
            to[j] += static_cast<Real>(metric_.shift() * scale * scale);
        }
    }

    void load_inner() {
        if (c_) return;
        scratch c(pool_, cols(), cols());
        for (index first = 0; first < cols(); first += chunk) {
            const index count = std::min(chunk, cols() - first);
            inner_columns(c.span().block(first, first, cols() - first, count), first, count);
        }
        c_.emplace(std::move(c));
    }

    /// Calls `f(P_J, B_J)` for blocks J of columns with `B C Bᵀ = Σ_J P_J B_Jᵀ + B_J P_Jᵀ`: half of `C`, its
    /// diagonal halved, is multiplied, mn² flops in all.
    template <class F>
    void for_each_half(F&& f) {
        scratch lower(pool_, cols(), chunk);
        scratch half(pool_, rows(), chunk);
        for (index first = 0; first < cols(); first += chunk) {
            const index count = std::min(chunk, cols() - first);
            const dense_span<Real> c = lower.span().block(0, 0, cols() - first, count);
            inner_columns(c, first, count);
            clear_above_diagonal<Real>(c);
            for (index j = 0; j < count; ++j)
                c(j, j) *= Real(0.5);
            const dense_span<Real> p = half.span().leftCols(count);
            multiply_into<Real>(p, b().rightCols(cols() - first), op::none, c, op::none);
            f(p, b().middleCols(first, count));
        }
    }

    const metric& metric_;
    workspace& pool_;
    std::optional<scratch> b_;  ///< B, unless it is W itself
    const Real* data_ = nullptr;
    index rows_ = 0;
    index cols_ = 0;
    index stride_ = 0;
    std::optional<scratch> c_;  ///< lower triangle, of C or of its Cholesky factor
    dense root_;                ///< the factor of C where that is not it
    vector<double> scale_;
    vector<double> inverse_scale_;
    int exponent_ = 0;
    double kept_ = 0.0;
    double whole_ = 0.0;
    std::optional<scratch> columns_;  ///< BᵀB where it is known and B is not, and
    double product_scale_ = 0.0;      ///< its squared norm before what was added to Q was taken off
};

}  // namespace nsvd::inline NSVD_ABI::detail
