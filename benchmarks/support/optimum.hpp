// SPDX-License-Identifier: MIT
/// The reference that errors are compared with: the same stages solved in double by `dsyevd` of the smaller
/// side, and errors from explicit residuals. Nothing here goes through a solver of nsvd.
#pragma once

#include "problem.hpp"

#include <map>
#include <optional>

namespace bench {

/// `‖W − W′‖/‖W‖` and `‖(W − W′)X‖/‖WX‖`.
struct errors {
    double weighted = 0.0;
    double plain = 0.0;
};

/// `m×k` orthonormal: spans the k leading left singular vectors of a matrix in double. All eigenpairs are
/// kept for other k.
class leading_subspace {
public:
    explicit leading_subspace(const Eigen::MatrixXd& a);
    [[nodiscard]] Eigen::MatrixXd operator()(Index k) const;

private:
    Eigen::MatrixXd vectors_;           ///< eigenvectors of the smaller side, ascending
    std::optional<Eigen::MatrixXd> a_;  ///< of tall matrices, to map them back
};

/// The optimum of each method for one problem, computed when first asked for.
class optimum {
public:
    explicit optimum(const problem& p);

    [[nodiscard]] errors svd(Index k);
    [[nodiscard]] errors asvd(Index k);
    [[nodiscard]] errors nested(Index k, double share);

    /// The errors of `left · right`, in double whatever the scalar of the factors.
    template <class Scalar>
    [[nodiscard]] errors of(const dense<Scalar>& left, const dense<Scalar>& right) {
        return evaluate(left.template cast<double>(), right.template cast<double>());
    }

    /// `W L` with `L Lᵀ = C`: what the weighted error measures.
    [[nodiscard]] Eigen::MatrixXd weighted(Eigen::MatrixXd w) const;

private:
    [[nodiscard]] errors evaluate(const Eigen::MatrixXd& left, const Eigen::MatrixXd& right);
    [[nodiscard]] errors projected(const Eigen::MatrixXd& q);
    [[nodiscard]] const leading_subspace& activation_subspace();

    Eigen::MatrixXd w_;
    Eigen::MatrixXd root_;  ///< `L`
    bool triangular_ = true;
    double weighted_norm_ = 0.0;
    std::optional<leading_subspace> plain_;
    std::optional<leading_subspace> activation_;
    std::map<std::string, errors> known_;
};

/// The optimum of a problem. Keeps one, as `problem_for` does.
[[nodiscard]] optimum& optimum_for(const problem_spec& spec);

}  // namespace bench
