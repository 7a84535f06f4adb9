// SPDX-License-Identifier: MIT
/// What holds for a result of any method at any rank.
#pragma once

#include "layer.hpp"
#include "property.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace generated {

inline double deviation_from_orthonormal(const MatrixXd& q) {
    return (q.transpose() * q - MatrixXd::Identity(q.cols(), q.cols())).cwiseAbs().maxCoeff();
}

/// A result in double and exact units: the factor that carries the scale of W is taken back. It is `right`,
/// but for columns of W.
struct in_double {
    MatrixXd left, right;

    template <class Scalar>
    in_double(const nsvd::low_rank<Scalar>& d, int w_scale)
        : left(d.left.template cast<double>()), right(d.right.template cast<double>()) {
        Index first = 0;
        for (const nsvd::stage_info& stage : d.info.stages) {
            const auto columns = Eigen::seqN(first, stage.rank);
            if (stage.columns)
                left(Eigen::all, columns) = times_power(left(Eigen::all, columns), -w_scale);
            else
                right(columns, Eigen::all) = times_power(right(columns, Eigen::all), -w_scale);
            first += stage.rank;
        }
    }
};

/// What rounding of the layer's own numbers can do, absolute, in exact units.
struct roundings {
    double plain;     ///< to ‖W − W′‖
    double weighted;  ///< to ‖(W − W′) S‖
    double grain;     ///< of `plain`, that of denormal factors, which decides between tied values
};

template <class Scalar>
roundings roundings_of(const layer_case& c, const matrices<Scalar>&, const problem& p, double grains = 1.0) {
    using layer = matrices<Scalar>;
    // Range and null space of C touch up to eps·cond(X)² of an angle, which X sees at σ₁/cond(X).
    const double gram = 10 * std::numeric_limits<double>::epsilon() * std::pow(10.0, c.condition);
    const double own = (4 + 100 * p.rounding) * layer::eps + gram;
    // Denormal entries of the factor that carries the scale.
    const double grain = std::ldexp(grains * std::sqrt(static_cast<double>(c.n * c.m)),
                                    std::numeric_limits<typename layer::factor>::min_exponent -
                                        std::numeric_limits<typename layer::factor>::digits - c.w_scale);
    // The span of W S in double is off by eps of its largest column.
    const double span = layer::in_double && c.method != method::svd ? 20 * layer::eps : 0.0;
    const double plain = (own + span * (c.outliers > 0 ? 1000.0 : 1.0)) * p.target.norm() + grain;
    return {plain, (own * p.target.norm() + grain) * p.inputs.norm(), grain};
}

/// Stage after stage: what is left in its metric is the least that its rank can leave, and `info` says so.
/// `grains`: denormal numbers were rounded so often.
template <class Scalar>
void check_stages(const layer_case& c, const matrices<Scalar>& l,
                  const nsvd::low_rank<typename matrices<Scalar>::factor>& d, double grains = 1.0) {
    using layer = matrices<Scalar>;
    const problem p = problem_of(c, l.exact);
    const roundings rounding = roundings_of(c, l, p, grains);
    const in_double result(d, c.w_scale);
    const bool projection = c.method != method::columns;

    RC_ASSERT(d.left.rows() == c.m);
    RC_ASSERT(d.right.cols() == c.n);
    RC_ASSERT(d.right.rows() == d.left.cols());
    RC_ASSERT(result.left.allFinite());
    RC_ASSERT(result.right.allFinite());
    RC_ASSERT(d.info.status < nsvd::status::not_converged);
    RC_ASSERT(d.info.certified);
    RC_ASSERT(d.info.gap == 0.0);
    const MatrixXd q = projection ? result.left : span_of(result.left);
    if (projection) {
        // The QR iteration of the Eigen backend turns vectors as often as there are.
        within("Q orthonormal, in eps", deviation_from_orthonormal(q) / layer::eps,
               layer::in_double ? 20.0 + static_cast<double>(c.full_rank()) : 4.0);
        within("right - Q^T W", (result.right - q.transpose() * p.target).norm(), rounding.plain);
    }

    Index given = 0;
    Index parameters = d.rank() * (c.m + c.n);
    for (std::size_t i = 0; i < d.info.stages.size(); ++i) {
        const nsvd::stage_info& stage = d.info.stages[i];
        const bool first_metric = i == 0 && stage.metric != "identity" && stage.metric != "columns";
        const MatrixXd behind = first_metric ? MatrixXd(p.target * p.inputs) : p.target;
        const double noise = first_metric ? rounding.weighted : rounding.plain;
        const MatrixXd before = without(behind, q.leftCols(given));
        const double best = optimum(before, stage.rank);
        given += stage.rank;
        const double left = without(behind, q.leftCols(given)).norm();
        if (stage.columns) {
            parameters -= stage.rank * stage.rank;
            within("columns take nothing away", left, before.norm() + noise);
        } else if (stage.metric != "completion") {
            // What the eigenproblems lose of an optimum below 1e-10·σ₁ (deflated_eigen), and of denormal
            // numbers, may decide between directions; the rest is rounding of the result, which adds in
            // quadrature.
            const double linear = 1e-16 * p.target.norm() + rounding.grain;
            within("loss over optimum", left,
                   std::hypot(best * (1 + 1e-6), noise) + linear * (first_metric ? p.inputs.norm() : 1.0));
        }
        // The reference is rounded, too.
        const double of_reference = 4.0 * std::numeric_limits<double>::epsilon() *
                                    static_cast<double>(std::max(c.m, c.n)) * before.norm();
        within("optimum over loss", best, left + noise + of_reference);
    }
    RC_ASSERT(given == d.rank());
    RC_ASSERT(d.parameters() == parameters);
}

}  // namespace generated
