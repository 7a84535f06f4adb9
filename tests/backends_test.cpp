// SPDX-License-Identifier: MIT
// Both backends in one program give the same results within rounding. Where the library is built without
// LAPACK this compares Eigen with itself.
#include "support/catch.hpp"
#include "support/generate.hpp"
#include "support/other_backend.hpp"
#include "support/run_methods.hpp"

#include <array>
#include <cmath>
#include <utility>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using support::method;

constexpr std::array all_methods{method::svd,    method::asvd_0, method::asvd_1, method::asvd_2,
                                 method::nsvd_1, method::nsvd_2, method::nid_1,  method::blended};

struct generated {
    MatrixXd w;
    MatrixXd x;
};

/// Slowly falling spectra: the cut lies in a gap of a few per cent, which keeps subspaces comparable.
generated make(std::uint64_t seed, Index m, Index n, const support::activation_options& options,
               Index tokens = 0) {
    support::generator g(seed);
    const MatrixXd w = g.with_spectrum(m, n, support::geometric(std::min(m, n), 100.0));
    return {w, support::activations(g, n, tokens > 0 ? tokens : 3 * n, options)};
}

/// `accuracy`: of W′ relative to ‖W‖; errors and spectra, which don't feel close singular values, to `unit`.
template <class Matrix>
void compare(const generated& layer, Index k, double unit, double accuracy) {
    using scalar = typename Matrix::Scalar;
    const Matrix w = layer.w.cast<scalar>();
    const Matrix x = layer.x.cast<scalar>();
    for (const method which : all_methods) {
        CAPTURE(static_cast<int>(which), k);
        const auto here = run_method(which, w, x, k);
        const auto there = support::run_with_eigen(which, w, x, k);
        CHECK((here.left * here.right - there.left * there.right).norm() / layer.w.norm() <= accuracy);
        CHECK(std::abs(here.plain - there.plain) <= unit + 1e-9 * there.plain);
        CHECK(std::abs(here.weighted - there.weighted) <= unit + 1e-6 * there.weighted);
        REQUIRE(here.spectrum.size() == there.spectrum.size());
        CHECK((here.spectrum - there.spectrum).cwiseAbs().maxCoeff() <= 1e-13 * here.spectrum(0));
        CHECK(here.numerical_rank == there.numerical_rank);
        CHECK(here.status == there.status);
        if (here.numerical_rank == 0) continue;  // nothing to solve
        CHECK(there.solver == "Eigen::SelfAdjointEigenSolver");
#if defined(NSVD_USE_LAPACK)
        CHECK(here.solver == "dsyevd");
#endif
    }
}

}  // namespace

TEST_CASE("the backends agree on ordinary layers", "[backends]") {
    std::uint64_t seed = 100;
    for (const auto& [m, n] : {std::pair<Index, Index>{32, 32}, {24, 70}, {70, 24}, {1, 9}, {9, 1}, {1, 1}})
        for (const double condition : {1.0, 100.0}) {
            CAPTURE(++seed, m, n, condition);
            const generated layer = make(seed, m, n, {.condition = condition});
            const Index full = std::min(m, n);
            for (const Index k : {Index{1}, (full + 1) / 2, full}) {
                compare<MatrixXd>(layer, k, 1e-13, 1e-11);
                compare<Eigen::MatrixXf>(layer, k, 1e-6, 1e-6);
            }
        }
}

TEST_CASE("the backends agree on hard layers", "[backends]") {
    std::uint64_t seed = 200;
    for (const auto& [m, n] : {std::pair<Index, Index>{32, 32}, {24, 70}, {70, 24}}) {
        CAPTURE(++seed, m, n);
        const Index k = std::min(m, n) / 2;
        // The accuracy of a subspace falls with the condition of C = X Xᵀ, that of errors does not.
        compare<MatrixXd>(make(seed, m, n, {.condition = 1e6}), k, 1e-12, 1e-5);
        compare<MatrixXd>(make(seed, m, n, {.outliers = 3, .factor = 1e6}), k, 1e-9, 1e-7);
        compare<MatrixXd>(make(seed, m, n, {.rank = n / 3}), k, 1e-9, 1e-11);
        compare<MatrixXd>(make(seed, m, n, {}, n / 4), k, 1e-9, 1e-11);
        generated silent = make(seed, m, n, {});
        silent.x.setZero();
        compare<MatrixXd>(silent, k, 1e-13, 1e-11);
        generated nothing = make(seed, m, n, {});
        nothing.w.setZero();
        const auto d = run_method(method::nsvd_1, nothing.w, nothing.x, k);
        const auto e = support::run_with_eigen(method::nsvd_1, nothing.w, nothing.x, k);
        CHECK((d.left * d.right).isZero(0.0));
        CHECK((e.left * e.right).isZero(0.0));
    }
}

TEST_CASE("the backends agree on factors", "[backends]") {
    std::uint64_t seed = 300;
    for (const auto& options :
         {support::activation_options{}, support::activation_options{.condition = 1e4},
          support::activation_options{.rank = 7}, support::activation_options{.outliers = 2}}) {
        const MatrixXd x = make(++seed, 5, 30, options).x;
        const MatrixXd gram = x * x.transpose();
        for (const bool cholesky : {true, false}) {
            CAPTURE(seed, cholesky, options.rank, options.outliers);
            const auto here = run_factor(cholesky, x);
            const auto there = support::factor_with_eigen(cholesky, x);
            CHECK((here.product - there.product).norm() <= 1e-14 * gram.norm());
            CHECK((here.product - gram).norm() <= (1e-14 + 10 * here.ridge) * gram.norm());
            CHECK(here.ridge == there.ridge);
            CHECK(here.rank == there.rank);
            CHECK(here.rank == (options.rank > 0 ? options.rank : 30));
            // S⁺X is white; its factors may differ by signs, which its own Gram matrix doesn't see.
            const MatrixXd white = here.solved.transpose() * here.solved;
            const MatrixXd white_there = there.solved.transpose() * there.solved;
            if (options.rank == 0) CHECK((white - white_there).norm() <= 1e-6 * white.norm());
            if (options.rank == 0) CHECK(white.trace() == Approx(30.0).epsilon(1e-6));
        }
        const MatrixXd a = make(seed, 20, 30, {}).w;
        const MatrixXd here = run_interpolation(a, 9);
        CHECK((here - support::interpolate_with_eigen(a, 9)).norm() <= 1e-13 * a.norm());
        CHECK((here - a).norm() < a.norm());
    }
}
