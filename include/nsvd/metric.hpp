// SPDX-License-Identifier: MIT
/// The metrics `M` in which a stage of a decomposition measures the error `‖(W − W′) M^½‖_F`.
#pragma once

#include "calibration.hpp"
#include "whitening.hpp"

#include <Eigen/Core>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace nsvd::inline NSVD_ABI {

/// Which statistic of a channel ASVD-0 scales by.
enum class statistic : std::uint8_t { mean, max };

/// A symmetric positive semi-definite `n×n` metric, held as a factor `S` with `S Sᵀ = M`. Cheap to copy:
/// layers that share their input (q, k, v; gate, up) share one factorization.
class metric {
public:
    /// `M = I`: the plain Frobenius norm, for any n.
    metric() : name_("identity") {}

    /// A metric from a factor of your own; `name` is what `info` calls it.
    /// Throws `nsvd::error` if the factor's parts don't belong together or are not finite.
    explicit metric(whitening_factor factor, std::string name = "custom") : name_(std::move(name)) {
        whitening_factor& f = factor;
        if (f.kind == whitening::diagonal) f.rank = (f.scale.array() > 0.0).count();
        if (f.size() == 0 || f.scale.minCoeff() < 0.0 ||
            (f.kind != whitening::diagonal && f.basis.rows() != f.size()) ||
            (f.kind == whitening::cholesky && f.basis.cols() != f.size()) || f.rank < 0 || f.rank > f.size())
            throw error("metric: factor has scale " + std::to_string(f.size()) + ", basis " +
                        detail::shape_text(index{f.basis.rows()}, index{f.basis.cols()}) + ", rank " +
                        std::to_string(f.rank));
        detail::require_finite(f.scale, "metric: scale");
        detail::require_finite(f.basis, "metric: basis");
        factor_ = std::make_shared<const whitening_factor>(std::move(factor));
    }

    /// True for `I`.
    [[nodiscard]] bool is_identity() const noexcept { return factor_ == nullptr; }
    /// The factor S. Throws `nsvd::error` for `I`, which has none.
    [[nodiscard]] const whitening_factor& factor() const {
        if (is_identity()) throw error("metric::factor: the identity has no factor");
        return *factor_;
    }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// Numerical rank of M for matrices of n columns.
    [[nodiscard]] index rank(index n) const noexcept { return is_identity() ? n : factor_->rank; }
    /// Estimate, from below, of the reciprocal condition number of S on its range.
    [[nodiscard]] double rcond() const noexcept { return is_identity() ? 1.0 : factor_->rcond; }
    [[nodiscard]] bool converged() const noexcept { return is_identity() || factor_->converged; }

private:
    std::shared_ptr<const whitening_factor> factor_;
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

}  // namespace detail

/// The metric of the Gram matrix, `C + blend·(tr C / n)·I`: with `blend` = μ > 0 the minimiser is that of
/// `‖(W − W′)X‖² + μ (tr C / n) ‖W − W′‖²` (COALA, 2507.07580). `kind` is `cholesky` (ASVD-I) or `eigen`
/// (ASVD-II): the same metric by another factor. Throws `nsvd::error` if the calibration has no tokens or μ
/// is not finite and ≥ 0.
template <real_scalar Scalar>
[[nodiscard]] metric gram_metric(const calibration<Scalar>& calib, whitening kind = whitening::cholesky,
                                 double blend = 0.0) {
    detail::require_tokens(calib, "gram_metric");
    detail::require_not_negative("blend", blend);
    Eigen::MatrixXd gram = calib.gram();
    if (blend > 0.0) gram.diagonal().array() += blend * gram.diagonal().mean();
    return metric(whiten(gram, kind), kind == whitening::cholesky ? "gram (cholesky)" : "gram (eigen)");
}

/// The metric of ASVD-0 (2312.05821), `diag(s)²` with `s_i = (mean_t |x_it|)^alpha` or `(max_t
/// |x_it|)^alpha`. Throws `nsvd::error` if the calibration has no tokens, alpha is not finite and ≥ 0, or a
/// power overflows.
template <real_scalar Scalar>
[[nodiscard]] metric diagonal_metric(const calibration<Scalar>& calib, double alpha = 0.5,
                                     statistic of = statistic::mean) {
    detail::require_tokens(calib, "diagonal_metric");
    detail::require_not_negative("alpha", alpha);
    const Eigen::VectorXd s = of == statistic::mean ? calib.mean_abs() : calib.max_abs();
    return metric(diagonal_factor(s.array().pow(alpha).matrix()), "diagonal");
}

}  // namespace nsvd::inline NSVD_ABI
