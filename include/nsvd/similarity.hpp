// SPDX-License-Identifier: MIT
/// How alike the inputs of two calibrations are: will what one was good for be good for the other?
#pragma once

#include "calibration.hpp"
#include "detail/blas.hpp"
#include "detail/factorizations.hpp"
#include "matrix.hpp"
#include "progress.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace nsvd::inline NSVD_ABI {

/// What `similarity` measures, all of it in [−1, 1] and independent of scale and number of tokens.
struct calibration_similarity {
    double means = 0.0;     ///< cosine of the angle between the means E[x]; 0 where a mean is 0
    double mean_abs = 0.0;  ///< the same of E[|x|], which 2503.17101 compares texts by
    double grams = 0.0;     ///< `⟨C₁, C₂⟩_F / (‖C₁‖_F ‖C₂‖_F)`
    /// Cosines of the principal angles between the leading subspaces of C₁ and C₂, descending; 1e-8 absolute.
    Eigen::VectorXd principal_cosines;
};

namespace detail {

[[nodiscard]] inline double cosine(const Eigen::VectorXd& a, const Eigen::VectorXd& b) {
    Eigen::VectorXd u = a;
    Eigen::VectorXd v = b;
    normalize_columns<double>(u);
    normalize_columns<double>(v);
    return std::clamp(inner_product<double>(u, v), -1.0, 1.0);
}

/// C with its largest entry between ½ and 1, both triangles.
template <real_scalar Scalar>
[[nodiscard]] Eigen::MatrixXd scaled_gram(const calibration<Scalar>& calib) {
    Eigen::MatrixXd c = calib.gram();
    normalize(c);
    return c;
}

template <class Real>
[[nodiscard]] dense_matrix<Real> leading_eigenvectors(dense_matrix<Real> c, index count, const char* which) {
    const symmetric_eigen<Real> eigen = eigen_decompose<Real>(std::move(c));
    if (!eigen.converged) throw error(std::string("similarity: no eigensolver converged for ") + which);
    return converted<Real, Real>(dense_ref<Real>(eigen.vectors).leftCols(count));
}

}  // namespace detail

/// Options of `similarity`.
struct similarity_options {
    nsvd::progress_callback progress = {};  ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};         ///< asked whether it is to stop
};

/// Compares two calibrations of the same layer input. `dimension` is that of the leading subspaces; 0 leaves
/// them out, and with them two eigenproblems (9n³ flops each, and n² numbers for each matrix). Throws
/// `nsvd::error` if the features differ, a calibration has no tokens, `dimension` is outside [0, n], or no
/// eigensolver converged.
template <real_scalar First, real_scalar Second>
[[nodiscard]] calibration_similarity similarity(const calibration<First>& a, const calibration<Second>& b,
                                                index dimension = 0, const similarity_options& options = {}) {
    if (a.features() != b.features())
        throw error("similarity: a has " + std::to_string(a.features()) + " features but b has " +
                    std::to_string(b.features()));
    if (a.tokens() == 0 || b.tokens() == 0)
        throw error("similarity: the " + std::string(a.tokens() == 0 ? "first" : "second") +
                    " calibration has no tokens: call update first");
    if (dimension < 0 || dimension > a.features())
        throw error("similarity: dimension = " + std::to_string(dimension) + " is outside [0, " +
                    std::to_string(a.features()) + "]");
    detail::observer watch(options.progress, options.cancel, "similarity");
    watch.enter("means and Gram matrices", 0.0, 1.0);
    calibration_similarity result;
    result.means = detail::cosine(a.mean(), b.mean());
    result.mean_abs = detail::cosine(a.mean_abs(), b.mean_abs());
    Eigen::MatrixXd c = detail::scaled_gram(a);
    Eigen::MatrixXd d = detail::scaled_gram(b);
    const double lengths = std::sqrt(detail::squared_norm<double>(c) * detail::squared_norm<double>(d));
    if (lengths > 0.0) result.grams = std::min(1.0, detail::inner_product<double>(c, d) / lengths);
    if (dimension > 0) {
        watch.at(0.1);
        const Eigen::MatrixXd u =
            detail::leading_eigenvectors<double>(std::move(c), dimension, "the first calibration");
        watch.at(0.5);
        const Eigen::MatrixXd v =
            detail::leading_eigenvectors<double>(std::move(d), dimension, "the second calibration");
        watch.at(0.9);
        const Eigen::MatrixXd overlap = detail::multiply(u, detail::op::transpose, v, detail::op::none);
        Eigen::MatrixXd squares = detail::zeros<double>(dimension, dimension);
        detail::add_gram_lower<double>(squares, overlap, detail::op::transpose);
        detail::symmetric_eigen<double> angles = detail::eigen_decompose<double>(std::move(squares));
        if (!angles.converged) throw error("similarity: no eigensolver converged for the principal angles");
        result.principal_cosines = std::move(angles.values);
        for (double& cosine : result.principal_cosines)
            cosine = std::sqrt(std::clamp(cosine, 0.0, 1.0));
    }
    watch.finish();
    return result;
}

}  // namespace nsvd::inline NSVD_ABI
