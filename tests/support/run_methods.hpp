// SPDX-License-Identifier: MIT
/// Compiled once a backend, by backends_test.cpp and other_backend.cpp: internal linkage throughout.
#pragma once

#include "other_backend.hpp"

#include <nsvd/nsvd.hpp>

#include <string>

namespace {

template <class Matrix>
[[nodiscard]] support::outcome run_method(support::method which, const Matrix& w, const Matrix& x,
                                          Eigen::Index k) {
    using nsvd::whitening;
    using support::method;
    const nsvd::rank rank{k};
    nsvd::calibration<typename Matrix::Scalar> calib(w.cols());
    calib.update(x);
    const auto decompose = [&] {
        switch (which) {
            case method::asvd_0:
                return nsvd::asvd(w, calib, rank, {.whitening = whitening::diagonal});
            case method::asvd_1:
                return nsvd::asvd(w, calib, rank);
            case method::asvd_2:
                return nsvd::asvd(w, calib, rank, {.whitening = whitening::eigen});
            case method::nsvd_1:
                return nsvd::nested(w, calib, rank, {.share = 0.8});
            case method::nsvd_2:
                return nsvd::nested(w, calib, rank, {.whitening = whitening::eigen, .share = 0.8});
            case method::nid_1:
                return nsvd::nested(w, calib, rank,
                                    {.share = 0.8, .residual = nsvd::residual::interpolative});
            case method::blended:
                return nsvd::asvd(w, calib, rank, {.blend = 0.01});
            case method::svd:
                break;
        }
        return nsvd::svd(w, rank);
    };
    const auto d = decompose();
    return {d.left.template cast<double>(),
            d.right.template cast<double>(),
            d.info.spectrum,
            nsvd::weighted_error(w, d, calib),
            nsvd::plain_error(w, d),
            d.info.numerical_rank,
            std::string(nsvd::to_string(d.info.status)),
            d.info.solver};
}

[[nodiscard]] support::factor_outcome run_factor(bool cholesky, const Eigen::MatrixXd& x) {
    nsvd::calibration<double> calib(x.rows());
    calib.update(x);
    const auto s = cholesky ? nsvd::cholesky_factor(calib.gram()) : nsvd::eigen_factor(calib.gram());
    return {s.dense() * s.dense().transpose(), s.solve(x), s.ridge, s.rank};
}

[[nodiscard]] Eigen::MatrixXd run_interpolation(const Eigen::MatrixXd& a, Eigen::Index k) {
    const auto d = nsvd::interpolative(a, nsvd::rank{k});
    Eigen::MatrixXd columns(a.rows(), k);
    for (Eigen::Index j = 0; j < k; ++j)
        columns.col(j) = a.col(d.columns[static_cast<std::size_t>(j)]);
    return columns * d.coefficients;
}

}  // namespace
