// SPDX-License-Identifier: MIT
#include "optimum.hpp"

#include "progress.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace bench {

namespace {

using matrix = Eigen::MatrixXd;

/// Orthonormal columns with the same span, by Cholesky twice: the columns given are close to orthogonal.
matrix orthonormal(matrix q) {
    q.colwise().normalize();
    for (int pass = 0; pass < 2; ++pass) {
        matrix gram(q.cols(), q.cols());
        syrk_into<double>(gram, q, true);
        require(potrf(gram), "potrf of a basis");
        // Q L⁻ᵀ: the transposed lower factor from the right.
        cblas_dtrsm(CblasColMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, size(q.rows()),
                    size(q.cols()), 1.0, gram.data(), size(gram.rows()), q.data(), size(q.rows()));
    }
    return q;
}

/// `A − Q Qᵀ A`.
matrix without(matrix a, const matrix& q) {
    const matrix coefficients = multiply<double>(q, true, a, false);
    multiply_into<double>(a, q, false, coefficients, false, -1.0, 1.0);
    return a;
}

}  // namespace

leading_subspace::leading_subspace(const matrix& a) {
    const bool tall = a.rows() > a.cols();
    const Index s = std::min(a.rows(), a.cols());
    matrix gram(s, s);
    syrk_into<double>(gram, a, tall);
    vectors_ = syevd<double>(std::move(gram)).vectors;
    if (tall) a_ = a;
}

matrix leading_subspace::operator()(Index k) const {
    const matrix leading = vectors_.rightCols(k);
    return orthonormal(a_ ? multiply<double>(*a_, false, leading, false) : leading);
}

optimum::optimum(const problem& p) : w_(p.weights.cast<double>()), root_(p.calib.gram()) {
    if (potrf(root_) == 0) {
        root_.triangularView<Eigen::StrictlyUpper>().setZero();
    } else {
        triangular_ = false;
        const eigenpairs<double> e = syevd<double>(p.calib.gram());
        root_ = e.vectors * e.values.cwiseMax(0.0).cwiseSqrt().asDiagonal();
    }
    weighted_norm_ = weighted(w_).norm();
}

matrix optimum::weighted(matrix w) const {
    if (!triangular_) return multiply<double>(w, false, root_, false);
    apply_lower_right(w, root_, false);
    return w;
}

errors optimum::evaluate(const matrix& left, const matrix& right) {
    matrix residual = w_;
    multiply_into<double>(residual, left, false, right, false, -1.0, 1.0);
    const double plain = residual.norm() / w_.norm();
    return {weighted(std::move(residual)).norm() / weighted_norm_, plain};
}

errors optimum::projected(const matrix& q) {
    return evaluate(q, multiply<double>(q, true, w_, false));
}

const leading_subspace& optimum::activation_subspace() {
    if (!activation_) activation_.emplace(weighted(w_));
    return *activation_;
}

errors optimum::svd(Index k) {
    const std::string key = "svd " + std::to_string(k);
    if (!known_.contains(key)) {
        if (!plain_) plain_.emplace(w_);
        known_[key] = projected((*plain_)(k));
    }
    return known_[key];
}

errors optimum::asvd(Index k) {
    const std::string key = "asvd " + std::to_string(k);
    if (!known_.contains(key)) known_[key] = projected(activation_subspace()(k));
    return known_[key];
}

errors optimum::nested(Index k, double share) {
    const std::string key = "nested " + std::to_string(k) + " " + std::to_string(share);
    if (known_.contains(key)) return known_[key];
    const auto first =
        std::max<Index>(1, static_cast<Index>(std::floor(share * static_cast<double>(k) + 0.5)));
    const matrix q1 = activation_subspace()(first);
    matrix q(w_.rows(), k);
    q << q1, without(leading_subspace(without(w_, q1))(k - first), q1);
    return known_[key] = projected(orthonormal(std::move(q)));
}

optimum& optimum_for(const problem_spec& spec) {
    static problem_spec of;
    static std::optional<optimum> kept;
    if (!kept || of != spec) {
        kept.reset();
        const problem& p = problem_for(spec);
        note("double-precision reference of " + spec.name());
        kept.emplace(p);
        of = spec;
    }
    return *kept;
}

}  // namespace bench
