// SPDX-License-Identifier: MIT
// The properties that any right implementation of the methods has (docs/mathematics), over generated layers:
// every scalar, both storage orders, every shape, and numbers that make published codes fail. What a property
// is compared with is computed here, in double, from the matrices themselves: never from a Gram matrix.
#include "support/catch.hpp"
#include "support/generate.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using nsvd::whitening;

constexpr double tiny = std::numeric_limits<double>::min();  // 0/0 = 0

template <class Scalar, int Order>
using stored = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Order>;
using half_columns = stored<Eigen::half, Eigen::ColMajor>;
using half_rows = stored<Eigen::half, Eigen::RowMajor>;
using bfloat16_columns = stored<Eigen::bfloat16, Eigen::ColMajor>;
using bfloat16_rows = stored<Eigen::bfloat16, Eigen::RowMajor>;
using float_columns = stored<float, Eigen::ColMajor>;
using float_rows = stored<float, Eigen::RowMajor>;
using double_columns = stored<double, Eigen::ColMajor>;
using double_rows = stored<double, Eigen::RowMajor>;

/// A generated layer in the scalar and order of `Matrix`, and the same numbers in double.
template <class Matrix>
struct layer {
    using scalar = typename Matrix::Scalar;
    static constexpr bool in_double = std::is_same_v<scalar, double>;
    /// Of the factors: `float` for the half precisions.
    static constexpr double eps =
        in_double ? std::numeric_limits<double>::epsilon() : double{std::numeric_limits<float>::epsilon()};

    Matrix w_in;
    Matrix x_in;
    MatrixXd w = w_in.template cast<double>();
    MatrixXd x = x_in.template cast<double>();
    nsvd::calibration<scalar> calib{w.cols()};

    double gram_noise = 0.0;  ///< what a Gram matrix loses of a singular X, relative
    double outliers = 1.0;    ///< how much larger outlier channels are

    layer(const MatrixXd& weights, const MatrixXd& inputs, const support::activation_options& made = {})
        : w_in(weights.cast<scalar>()), x_in(inputs.cast<scalar>()) {
        calib.update(x_in);
        // Range and null space of C touch up to eps·cond(X)² of an angle, which X sees at σ₁/cond(X).
        if (x.cols() < x.rows() || made.rank > 0)
            gram_noise = 10 * std::numeric_limits<double>::epsilon() * made.condition;
        if (made.outliers > 0) outliers = made.factor;
    }

    [[nodiscard]] Index full_rank() const { return std::min(w.rows(), w.cols()); }
    /// What rounding costs, seen through X: that of the factors, and of C.
    [[nodiscard]] double weighted_rounding() const { return (4 * eps + gram_noise) * w.norm() * x.norm(); }
    /// The same without X. The span of W S in double is off by eps of its largest column.
    [[nodiscard]] double plain_rounding() const {
        return (in_double ? 20 * eps * outliers : 4 * eps) * w.norm();
    }
};

/// What is checked of a result, in double.
struct measured {
    MatrixXd left;
    MatrixXd product;  ///< W′
    double weighted;   ///< ‖(W − W′)X‖_F
    double plain;      ///< ‖W − W′‖_F
};

template <class Layer, class Result>
measured measure(const Layer& l, const Result& d) {
    static_assert(
        std::is_same_v<typename Result::scalar, std::conditional_t<Layer::in_double, double, float>>);
    const MatrixXd left = d.left.template cast<double>();
    const MatrixXd product = left * d.right.template cast<double>();
    return {left, product, ((l.w - product) * l.x).norm(), (l.w - product).norm()};
}

/// a = b and a ≤ b, to a relative 1e-6 and what rounding allows. As quotients, so that a failure shows by how
/// much.
void check_equal(double a, double b, double rounding) {
    CHECK(std::abs(a - b) / (1e-6 * b + rounding + tiny) <= 1.0);
}
void check_not_above(double a, double b, double rounding) {
    CHECK((a - b) / (1e-6 * b + rounding + tiny) <= 1.0);
}

/// `Q` orthonormal to 20 eps (4 in single precision) in every inner product, and `W′ = Q Qᵀ W`.
template <class Layer, class Result>
void check_projection(const Layer& l, const Result& d, Index k) {
    REQUIRE(d.left.rows() == l.w.rows());
    REQUIRE(d.right.cols() == l.w.cols());
    REQUIRE(d.rank() == k);
    const MatrixXd q = d.left.template cast<double>();
    const double deviation = (q.transpose() * q - MatrixXd::Identity(k, k)).cwiseAbs().maxCoeff();
    CHECK(deviation / Layer::eps <= (Layer::in_double ? 20.0 : 4.0));
    check_not_above((d.right.template cast<double>() - q.transpose() * l.w).norm(), 0.0, l.plain_rounding());
    CHECK(d.info.status < nsvd::status::not_converged);
}

template <class Layer>
void check_all_methods(const Layer& l, support::generator& g) {
    const Index k = g.integer(1, l.full_rank());
    const double share = g.uniform();
    CAPTURE(k, share);
    const nsvd::rank rank{k};
    const double wr = l.weighted_rounding();
    const double pr = l.plain_rounding();

    const auto plain = nsvd::svd(l.w_in, rank);
    const auto zero = nsvd::asvd(l.w_in, l.calib, rank, {.whitening = whitening::diagonal});
    const auto zero_max = nsvd::asvd(l.w_in, l.calib, rank,
                                     {.whitening = whitening::diagonal, .statistic = nsvd::statistic::max});
    const auto one = nsvd::asvd(l.w_in, l.calib, rank);
    const auto two = nsvd::asvd(l.w_in, l.calib, rank, {.whitening = whitening::eigen});
    const auto nsvd_one = nsvd::nested(l.w_in, l.calib, rank, {.share = share});
    const auto nsvd_two =
        nsvd::nested(l.w_in, l.calib, rank, {.whitening = whitening::eigen, .share = share});
    const auto nid =
        nsvd::nested(l.w_in, l.calib, rank, {.share = share, .residual = nsvd::residual::interpolative});
    const auto m_plain = measure(l, plain);
    const auto m_one = measure(l, one);
    const auto m_two = measure(l, two);
    const auto m_nsvd = measure(l, nsvd_one);
    const auto m_nid = measure(l, nid);

    // Every result but NID's is a projection of W by an orthonormal Q.
    for (const auto* d : {&plain, &zero, &zero_max, &one, &two, &nsvd_one, &nsvd_two})
        check_projection(l, *d, k);
    REQUIRE(nid.rank() == k);

    // The loss is what the spectrum says is dropped; ASVD-I = ASVD-II.
    const double dropped = std::sqrt(one.info.spectrum.tail(l.full_rank() - k).sum());
    check_equal(m_one.weighted, dropped, wr);
    check_equal(m_one.weighted, m_two.weighted, wr);
    check_equal(m_plain.plain, std::sqrt(plain.info.spectrum.tail(l.full_rank() - k).sum()), pr);
    // The residual may have tied singular values, between which the weighted error is anyone's choice.
    check_equal(measure(l, nsvd_two).plain, m_nsvd.plain, pr);

    // Nothing beats ASVD-I with the activations, nor plain SVD without.
    for (const auto& other : {m_plain, measure(l, zero), measure(l, zero_max), m_nsvd, m_nid}) {
        check_not_above(m_one.weighted, other.weighted, wr);
        check_not_above(m_plain.plain, other.plain, pr);
    }
    // The second stage takes away from the residual of the first, by SVD more than by any columns.
    const auto k1 =
        std::clamp<Index>(static_cast<Index>(std::floor(share * static_cast<double>(k) + 0.5)), 1, k);
    const auto stage_one = measure(l, nsvd::asvd(l.w_in, l.calib, nsvd::rank{k1}));
    CHECK(nsvd_one.info.stages.front().rank <= k1);
    check_not_above(m_nsvd.plain, stage_one.plain, pr);
    check_not_above(m_nsvd.weighted, stage_one.weighted, wr);
    check_not_above(m_nid.plain, stage_one.plain, pr);
    check_not_above(m_nsvd.plain, m_nid.plain, pr);

    // Blended is the optimum of its own objective.
    const double mu = std::pow(10.0, -4.0 + 4.0 * g.uniform());
    const auto objective = [&](const measured& m) {
        return std::hypot(m.weighted, m.plain * l.x.norm() * std::sqrt(mu / static_cast<double>(l.w.cols())));
    };
    const auto blended = nsvd::asvd(l.w_in, l.calib, rank, {.blend = mu});
    check_projection(l, blended, k);
    CAPTURE(mu);
    for (const auto& other : {m_plain, m_one, m_nsvd, m_nid})
        check_not_above(objective(measure(l, blended)), objective(other), 2 * wr);

    // What the library says of an error is what it is; a smaller rank of a result is a result.
    const double wx = (l.w * l.x).norm();
    const double wn = l.w.norm();
    check_equal(nsvd::weighted_error(l.w_in, one, l.calib) * wx, m_one.weighted, std::max(wr, 1e-8 * wx));
    check_equal(nsvd::plain_error(l.w_in, nid) * wn, m_nid.plain, pr);
    const Index less = g.integer(1, k);
    const double cut = std::sqrt(one.info.spectrum.tail(l.full_rank() - less).sum());
    check_equal(measure(l, one.truncate(less)).weighted, cut, wr);
    check_projection(l, nsvd_one.truncate(less), less);
}

/// Shapes by turns: tall, wide, square, 1×1, 1×n, m×1.
std::pair<Index, Index> make_shape(support::generator& g, std::uint64_t turn) {
    const Index a = g.integer(2, 14);
    const Index b = a + g.integer(1, 12);
    switch (turn % 8) {
        case 0:
        case 1:
            return {b, a};
        case 2:
        case 3:
            return {a, b};
        case 4:
            return {b, b};
        case 5:
            return {1, 1};
        case 6:
            return {1, b};
        default:
            return {b, 1};
    }
}

}  // namespace

// Steep and rank-deficient W in double (seeds 4, 40, 50, 60, 68) show any leakage between the passes of
// deflated_eigen.
TEMPLATE_TEST_CASE("the methods keep their promises on every kind of layer", "[property]", half_columns,
                   half_rows, bfloat16_columns, bfloat16_rows, float_columns, float_rows, double_columns,
                   double_rows) {
    constexpr bool half = std::is_same_v<typename TestType::Scalar, Eigen::half>;
    for (std::uint64_t seed = 1; seed <= 72; ++seed) {
        support::generator g(seed);
        const auto [m, n] = make_shape(g, seed);
        const auto kind = support::all_spectra[seed % support::all_spectra.size()];
        // Fewer tokens than channels at times, outlier channels at others; 1e6 is beyond half precision.
        const Index tokens = seed % 3 == 0 ? g.integer(1, n) : 3 * n;
        const support::activation_options options{.condition = std::pow(10.0, g.integer(0, 6)),
                                                  .rank = seed % 7 == 0 ? (n + 1) / 2 : 0,
                                                  .outliers = seed % 4 == 1 ? 2 : 0,
                                                  .factor = half ? 1e3 : 1e6};
        CAPTURE(seed, m, n, tokens, support::name_of(kind), options.condition, options.rank,
                options.outliers);
        const MatrixXd w = g.with_spectrum(m, n, support::make_spectrum(kind, std::min(m, n)));
        const MatrixXd x = support::activations(g, n, tokens, options);
        check_all_methods(layer<TestType>(w, x, options), g);
    }
}
