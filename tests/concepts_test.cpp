// SPDX-License-Identifier: MIT
// What does not fit is no member of an overload set: programs may ask by `requires`. What compilers say where
// it is called all the same is in compile_fail/.
#include "support/catch.hpp"

#include <nsvd/nsvd.hpp>

#include <string>
#include <vector>

namespace {

template <class W, class Policy>
concept has_svd = requires(const W& w, const Policy& policy) {
    nsvd::svd(w, policy);
};
template <class W, class Calibration>
concept has_nested = requires(const W& w, const Calibration& calib) {
    nsvd::nested(w, calib, nsvd::rank{1}, {.share = 0.9});
};
template <class Calibration>
concept has_gram_metric = requires(const Calibration& calib) {
    nsvd::gram_metric(calib);
};
template <class X>
concept has_update = requires(nsvd::calibration<float> calib, const X& x) {
    calib.update(x);
};

using Eigen::MatrixXd;
using Eigen::MatrixXf;
using half_matrix = Eigen::Matrix<Eigen::half, Eigen::Dynamic, Eigen::Dynamic>;

}  // namespace

TEST_CASE("concepts: matrices", "[concepts]") {
    STATIC_REQUIRE(nsvd::matrix<MatrixXd>);
    STATIC_REQUIRE(nsvd::matrix<half_matrix>);
    STATIC_REQUIRE(nsvd::matrix<Eigen::Map<const MatrixXf>>);
    STATIC_REQUIRE(nsvd::matrix<nsvd::strided_view<float>>);
    STATIC_REQUIRE_FALSE(nsvd::matrix<Eigen::MatrixXi>);
    STATIC_REQUIRE_FALSE(nsvd::matrix<Eigen::MatrixXcd>);
    STATIC_REQUIRE_FALSE(nsvd::matrix<Eigen::ArrayXXf>);
    STATIC_REQUIRE_FALSE(nsvd::matrix<std::vector<double>>);
    STATIC_REQUIRE_FALSE(nsvd::matrix<std::string>);
    STATIC_REQUIRE_FALSE(nsvd::matrix<double>);
    STATIC_REQUIRE(nsvd::real_scalar<Eigen::bfloat16>);
    STATIC_REQUIRE_FALSE(nsvd::real_scalar<int>);
    STATIC_REQUIRE_FALSE(nsvd::real_scalar<const float>);
}

TEST_CASE("concepts: calls that may be asked for", "[concepts]") {
    STATIC_REQUIRE(has_svd<MatrixXf, nsvd::rank>);
    STATIC_REQUIRE(has_svd<half_matrix, nsvd::energy>);
    STATIC_REQUIRE_FALSE(has_svd<std::string, nsvd::rank>);
    STATIC_REQUIRE_FALSE(has_svd<Eigen::MatrixXi, nsvd::rank>);
    STATIC_REQUIRE_FALSE(has_svd<MatrixXf, int>);
    STATIC_REQUIRE_FALSE(has_svd<MatrixXf, std::string>);
    STATIC_REQUIRE(has_nested<MatrixXf, nsvd::calibration<double>>);
    STATIC_REQUIRE_FALSE(has_nested<MatrixXf, MatrixXf>);
    STATIC_REQUIRE_FALSE(has_nested<std::string, nsvd::calibration<double>>);
    STATIC_REQUIRE(has_gram_metric<nsvd::calibration<float>>);
    STATIC_REQUIRE_FALSE(has_gram_metric<MatrixXf>);
    STATIC_REQUIRE(has_update<MatrixXf>);
    STATIC_REQUIRE_FALSE(has_update<std::vector<float>>);
}
