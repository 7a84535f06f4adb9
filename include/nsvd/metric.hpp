// SPDX-License-Identifier: MIT
/// The metrics `M` in which a stage of a decomposition measures the error `‖(W − W′) M^½‖_F`.
#pragma once

#include "calibration.hpp"
#include "detail/dense_span.hpp"
#include "whitening.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace nsvd::inline NSVD_ABI {

/// Which statistic of a channel ASVD-0 scales by.
enum class statistic : std::uint8_t { mean, max };

/// A symmetric positive semi-definite `n×n` metric `M`. Cheap to copy: layers that share their input (q, k,
/// v; gate, up) share one metric. A Gram matrix is factored, `M = S Sᵀ`, at the first use of `factor()` only,
/// and by one thread: most solvers need nothing but products with `M`.
class metric {
public:
    /// `M = I`: the plain Frobenius norm, for any n.
    metric() : name_("identity") {}

    /// A metric from a factor of your own; `name` is what `info` calls it.
    /// Throws `nsvd::error` if the factor's parts don't belong together or are not finite.
    explicit metric(whitening_factor factor, std::string name = "custom") : name_(std::move(name)) {
        whitening_factor& f = factor;
        if (f.kind == whitening::diagonal) f.rank = detail::count_above(f.scale, 0.0);
        for (index i = 0; i < f.size(); ++i)
            if (f.scale.data()[i] < 0.0)
                throw error("metric: scale(" + std::to_string(i) + ") = " + detail::text(f.scale.data()[i]) +
                            " is negative");
        if (f.size() == 0 || (f.kind != whitening::diagonal && f.basis.rows() != f.size()) ||
            (f.kind == whitening::cholesky && f.basis.cols() != f.size()) || f.rank < 0 || f.rank > f.size())
            throw error("metric: factor has scale " + std::to_string(f.size()) + ", basis " +
                        detail::shape_text(index{f.basis.rows()}, index{f.basis.cols()}) + ", rank " +
                        std::to_string(f.rank));
        detail::require_finite_entries<double>(f.scale, "metric: scale");
        detail::require_finite_entries<double>(f.basis, "metric: basis");
        state_ = std::make_shared<state>();
        state_->factor = std::move(factor);
    }

    /// The metric `M + shift·I` of a matrix of which only the lower triangle is read; it must be symmetric
    /// positive semi-definite, and outlive the metric unless it is given as an rvalue. `kind` says which
    /// factor `factor()` makes, `rank_limit` bounds the rank where the caller knows one (the tokens of a Gram
    /// matrix).
    template <class = void>
    metric(const Eigen::MatrixXd& lower, double shift, whitening kind, index rank_limit, std::string name)
        : state_(std::make_shared<state>()), name_(std::move(name)) {
        state_->lower = &lower;
        describe(shift, kind, rank_limit);
    }
    /// The same, which owns the matrix.
    template <class = void>
    metric(Eigen::MatrixXd&& lower, double shift, whitening kind, index rank_limit, std::string name)
        : state_(std::make_shared<state>()), name_(std::move(name)) {
        state_->owned = std::move(lower);
        state_->lower = &state_->owned;
        describe(shift, kind, rank_limit);
    }

    /// True for `I`.
    [[nodiscard]] bool is_identity() const noexcept { return state_ == nullptr; }
    /// Whether M is held as a matrix, `lower()` and `shift()`, and not only as a factor.
    [[nodiscard]] bool has_matrix() const noexcept { return state_ != nullptr && state_->lower != nullptr; }
    /// M less its shift; only the lower triangle is set. Only where `has_matrix()`.
    [[nodiscard]] const Eigen::MatrixXd& lower() const noexcept { return *state_->lower; }
    /// What is added to the diagonal of `lower()`.
    [[nodiscard]] double shift() const noexcept { return state_->shift; }
    /// Order n of M; 0 for `I`, which has any.
    [[nodiscard]] index size() const noexcept {
        if (is_identity()) return 0;
        return has_matrix() ? state_->lower->rows() : state_->factor.size();
    }
    /// The factor S. Throws `nsvd::error` for `I`, which has none. The first call costs a factorization.
    [[nodiscard]] const whitening_factor& factor() const {
        if (is_identity()) throw error("metric::factor: the identity has no factor");
        std::call_once(state_->once, [this] {
            if (!has_matrix()) return;
            Eigen::MatrixXd full = *state_->lower;
            detail::mirror_lower<double>(full);
            for (index i = 0; i < full.rows(); ++i)
                full(i, i) += state_->shift;
            state_->factor = state_->factorize(full, state_->kind);
        });
        return state_->factor;
    }
    /// `M x` for an `n×p` matrix, without a factorization; 2n²p flops. Throws `nsvd::error` for another n.
    template <class = void>
    [[nodiscard]] Eigen::MatrixXd times(const Eigen::MatrixXd& x) const {
        if (is_identity()) return x;
        require_size("times: rows of x", x.rows());
        if (has_matrix()) {
            Eigen::MatrixXd y(x.rows(), x.cols());
            detail::multiply_symmetric_into<double>(y, lower(), x);
            detail::add_multiple<double>(y, shift(), x);
            return y;
        }
        const whitening_factor& f = state_->factor;
        Eigen::MatrixXd scaled = x;
        detail::scale_rows<double>(scaled, f.scale.data());
        if (f.kind != whitening::diagonal)
            return f.apply(detail::multiply(f.basis, detail::op::transpose, scaled, detail::op::none));
        detail::scale_rows<double>(scaled, f.scale.data());
        return scaled;
    }
    /// The diagonal of M for matrices of n columns; at most n² flops. Throws `nsvd::error` for another n.
    [[nodiscard]] Eigen::VectorXd diagonal(index n) const {
        Eigen::VectorXd diagonal(n);
        detail::set_constant<double>(diagonal, 1.0);
        if (is_identity()) return diagonal;
        require_size("diagonal: n", n);
        if (has_matrix()) {
            for (index i = 0; i < n; ++i)
                diagonal(i) = lower()(i, i) + shift();
            return diagonal;
        }
        const whitening_factor& f = state_->factor;
        if (f.kind != whitening::diagonal)
            diagonal = detail::squared_norms_of_columns<double>(detail::transposed<double>(f.basis));
        for (index i = 0; i < n; ++i)
            diagonal(i) *= f.scale(i) * f.scale(i);
        return diagonal;
    }
    /// What `info` calls it.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// What the rank of M is at most, for matrices of n columns, without a factorization.
    [[nodiscard]] index rank_limit(index n) const noexcept {
        if (is_identity()) return n;
        return has_matrix() ? state_->rank_limit : state_->factor.rank;
    }
    /// Numerical rank of M for matrices of n columns; needs the factor.
    [[nodiscard]] index rank(index n) const { return is_identity() ? n : factor().rank; }
    /// Estimate, from below, of the reciprocal condition number of S on its range; needs the factor.
    [[nodiscard]] double rcond() const { return is_identity() ? 1.0 : factor().rcond; }
    /// Needs the factor.
    [[nodiscard]] bool converged() const { return is_identity() || factor().converged; }

private:
    void require_size(const char* what, index n) const {
        if (n != size())
            throw error(std::string("metric::") + what + " = " + std::to_string(n) + " but M is " +
                        detail::shape_text(size(), size()));
    }
    struct state {
        Eigen::MatrixXd owned;
        const Eigen::MatrixXd* lower = nullptr;
        double shift = 0.0;
        index rank_limit = 0;
        whitening kind = whitening::cholesky;
        // A pointer, so that only programs that make such a metric compile a factorization.
        whitening_factor (*factorize)(const Eigen::MatrixXd&, whitening) = nullptr;
        std::once_flag once;
        whitening_factor factor;
    };
    template <class = void>
    void describe(double shift, whitening kind, index rank_limit) {
        if (lower().rows() != lower().cols() || lower().rows() == 0)
            throw error("metric: M is " + detail::shape_text(index{lower().rows()}, index{lower().cols()}) +
                        ", not square");
        state_->shift = shift;
        state_->kind = kind;
        state_->factorize = [](const Eigen::MatrixXd& m, whitening how) { return whiten(m, how); };
        state_->rank_limit = shift > 0.0 ? lower().rows() : std::min(lower().rows(), rank_limit);
    }

    std::shared_ptr<state> state_;
    std::string name_;
};

namespace detail {

template <real_scalar Scalar>
void require_tokens(const calibration<Scalar>& calib, const char* where) {
    if (calib.tokens() == 0) throw error(std::string(where) + ": calib has no tokens: call update first");
}

inline void require_not_negative(const char* name, double value) {
    if (!(value >= 0.0 && std::isfinite(value)))
        throw error(std::string(name) + " = " + text(value) + " must be finite and not negative");
}

/// `blend · tr C / n`. Throws on behalf of `where` unless it is finite.
[[nodiscard]] inline double blend_shift(double blend, dense_ref<double> gram, const std::string& where) {
    if (blend == 0.0) return 0.0;
    const double shift = blend * trace_of<double>(gram) / static_cast<double>(gram.rows());
    if (!std::isfinite(shift))
        throw error(where + ": blend = " + text(blend) + ": its product with tr C / n is not finite");
    return shift;
}

/// `gram_metric` and `central_gram_metric` on the calibration's own matrix or on a copy of it.
template <real_scalar Scalar, class Matrix>
[[nodiscard]] metric gram_metric_of(const calibration<Scalar>& calib, Matrix&& gram, moments about,
                                    whitening kind, double blend) {
    const bool central = about == moments::central;
    const std::string where = central ? "central_gram_metric" : "gram_metric";
    require_tokens(calib, where.c_str());
    require_not_negative("blend", blend);
    if (kind == whitening::diagonal)
        throw error(where + ": a Gram matrix has a cholesky or an eigen factor; see diagonal_metric");
    const double shift = blend_shift(blend, gram, where);
    // The mean takes one direction.
    const std::int64_t rank = std::min<std::int64_t>(calib.tokens() - (central ? 1 : 0), calib.features());
    return metric(std::forward<Matrix>(gram), shift, kind, static_cast<index>(rank),
                  std::string(central ? "central gram" : "gram") +
                      (kind == whitening::cholesky ? " (cholesky)" : " (eigen)"));
}

/// The Gram matrix about zero or the mean, without a copy where that is what the calibration holds; it is in
/// `storage` else. Only the lower triangle is set. Throws unless the calibration can give it.
template <real_scalar Scalar>
[[nodiscard]] const Eigen::MatrixXd& gram_about(const calibration<Scalar>& calib, moments about,
                                                Eigen::MatrixXd& storage) {
    if (calib.about() == about) return calib.state().gram;
    storage = about == moments::central ? calib.central_gram() : calib.gram();
    return storage;
}

}  // namespace detail

/// The metric of the Gram matrix, `C + blend·(tr C / n)·I`: with `blend` = μ > 0 the minimiser is that of
/// `‖(W − W′)X‖² + μ (tr C / n) ‖W − W′‖²` (COALA, 2507.07580). `kind` is `cholesky` (ASVD-I) or `eigen`
/// (ASVD-II): the same metric, factored differently where a factor is needed. Copies C. Throws `nsvd::error`
/// if the calibration has no tokens, μ is not finite and ≥ 0, or μ·tr C / n is not finite. C is that of raw
/// moments, also for a calibration of central ones.
template <real_scalar Scalar>
[[nodiscard]] metric gram_metric(const calibration<Scalar>& calib, whitening kind = whitening::cholesky,
                                 double blend = 0.0) {
    return detail::gram_metric_of(calib, calib.gram(), moments::raw, kind, blend);
}

/// The same about the mean, `C_c + blend·(tr C_c / n)·I` with `C_c = Σ w (x − x̄)(x − x̄)ᵀ`: for a layer whose
/// bias is corrected (`bias_correction`), so that its error at the mean input does not count. Throws
/// `nsvd::error` as `gram_metric` does, and if the calibration has raw moments.
template <real_scalar Scalar>
[[nodiscard]] metric central_gram_metric(const calibration<Scalar>& calib,
                                         whitening kind = whitening::cholesky, double blend = 0.0) {
    return detail::gram_metric_of(calib, calib.central_gram(), moments::central, kind, blend);
}

/// The metric of ASVD-0 (2312.05821), `diag(s)²` with `s_i = (mean_t |x_it|)^alpha` or `(max_t
/// |x_it|)^alpha`. Throws `nsvd::error` if the calibration has no tokens, alpha is not finite and ≥ 0, or a
/// power overflows.
template <real_scalar Scalar>
[[nodiscard]] metric diagonal_metric(const calibration<Scalar>& calib, double alpha = 0.5,
                                     statistic of = statistic::mean) {
    detail::require_tokens(calib, "diagonal_metric");
    detail::require_not_negative("alpha", alpha);
    Eigen::VectorXd s = of == statistic::mean ? calib.mean_abs() : calib.max_abs();
    for (double& entry : s)
        entry = std::pow(entry, alpha);
    return metric(diagonal_factor(s), "diagonal");
}

}  // namespace nsvd::inline NSVD_ABI
