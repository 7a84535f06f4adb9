// SPDX-License-Identifier: MIT
/// The methods of the NSVD paper under the names of the command line.
#pragma once

#include <nsvd/nsvd.hpp>

#include <Eigen/Core>

#include <array>
#include <optional>
#include <string_view>
#include <vector>

namespace llm {

struct method {
    std::string_view name;                     // "nsvd-1"
    std::string_view label;                    // as in the paper: "NSVD-I"
    std::optional<nsvd::whitening> whitening;  // none: plain SVD
    std::optional<nsvd::residual> residual;    // none: one stage
};

inline constexpr std::array<method, 8> methods{{
    {"svd", "SVD", {}, {}},
    {"asvd-0", "ASVD-0", nsvd::whitening::diagonal, {}},
    {"asvd-1", "ASVD-I", nsvd::whitening::cholesky, {}},
    {"asvd-2", "ASVD-II", nsvd::whitening::eigen, {}},
    {"nsvd-1", "NSVD-I", nsvd::whitening::cholesky, nsvd::residual::svd},
    {"nsvd-2", "NSVD-II", nsvd::whitening::eigen, nsvd::residual::svd},
    {"nid-1", "NID-I", nsvd::whitening::cholesky, nsvd::residual::interpolative},
    {"nid-2", "NID-II", nsvd::whitening::eigen, nsvd::residual::interpolative},
}};

/// Throws nsvd::error with the known names for any other.
[[nodiscard]] const method& find_method(std::string_view name);

/// What a method leaves open.
struct method_options {
    double share = 0.95;  ///< the first stage's part of the rank where there are two
    double blend = 0;     ///< μ of the metric C + μ (tr C / n) I
    double alpha = 0.5;   ///< exponent of ASVD-0
    nsvd::moments moments = nsvd::moments::raw;
};

/// The metric of a method's first stage.
[[nodiscard]] nsvd::metric first_metric(const method& how, const nsvd::calibration<float>& calib,
                                        const method_options& options);

/// Decomposes W (m×n) at rank k.
[[nodiscard]] nsvd::low_rank<float> decompose(const method& how, const Eigen::MatrixXf& w,
                                              const nsvd::calibration<float>& calib, Eigen::Index k,
                                              const method_options& options, nsvd::workspace& memory);

/// The same with a stage for each calibration, which share the first stage's part of the rank equally.
/// Throws nsvd::error for plain SVD, which looks at none.
[[nodiscard]] nsvd::low_rank<float> decompose_in_stages(const method& how, const Eigen::MatrixXf& w,
                                                        const std::vector<nsvd::calibration<float>>& calibs,
                                                        Eigen::Index k, const method_options& options,
                                                        nsvd::workspace& memory);

}  // namespace llm
