// SPDX-License-Identifier: MIT
/// The library compiled a second time, always with Eigen alone, so that one program can hold both backends.
#pragma once

#include <Eigen/Core>

#include <string>

namespace support {

enum class method { svd, asvd_0, asvd_1, asvd_2, nsvd_1, nsvd_2, nid_1, blended };

/// What a decomposition gave, without any type of the library: its types differ between the backends.
struct outcome {
    Eigen::MatrixXd left;
    Eigen::MatrixXd right;
    Eigen::VectorXd spectrum;
    double weighted = 0.0;
    double plain = 0.0;
    Eigen::Index numerical_rank = 0;
    std::string status;
    std::string solver;
};

[[nodiscard]] outcome run_with_eigen(method which, const Eigen::MatrixXd& w, const Eigen::MatrixXd& x,
                                     Eigen::Index k);
[[nodiscard]] outcome run_with_eigen(method which, const Eigen::MatrixXf& w, const Eigen::MatrixXf& x,
                                     Eigen::Index k);

/// Helpers that decompositions are made of: a Cholesky or eigen factor of a Gram matrix, `S Sᵀ`, with its
/// ridge and rank, and an interpolative decomposition.
struct factor_outcome {
    Eigen::MatrixXd product;
    Eigen::MatrixXd solved;  ///< S⁺ X
    double ridge = 0.0;
    Eigen::Index rank = 0;
};
[[nodiscard]] factor_outcome factor_with_eigen(bool cholesky, const Eigen::MatrixXd& x);
[[nodiscard]] Eigen::MatrixXd interpolate_with_eigen(const Eigen::MatrixXd& a, Eigen::Index k);

}  // namespace support
