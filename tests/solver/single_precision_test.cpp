// SPDX-License-Identifier: MIT
// Every route of the solver on its own, on hard spectra and metrics: it may decline, but what it answers must
// hold the bound, and what it says of its answer must be true. Optima by tests/support/exact.hpp.
#include "support/catch.hpp"
#include "support/exact.hpp"
#include "support/generate.hpp"

#include <nsvd/solver/choose.hpp>
#include <nsvd/solver/single_precision.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using nsvd::accuracy;
using nsvd::detail::dense_matrix;
using nsvd::detail::leading_subspace;
using nsvd::detail::residual_gram;
using nsvd::detail::route;
using nsvd::detail::single_precision_solver;
using nsvd::detail::solver_choice;
using support::generator;

constexpr double single = std::numeric_limits<float>::epsilon();
// Of Σθ, in units of ‖W S‖². Eigen's implicit QR gathers the rounding of all its rotations.
#if defined(NSVD_USE_LAPACK)
constexpr double rounding_of_sums = 20.0 * single;
constexpr double rounding_of_values = 300.0 * single;  // of a single θ, in units of the largest
#else
constexpr double rounding_of_sums = 200.0 * single;
constexpr double rounding_of_values = 4000.0 * single;
#endif
constexpr double twofold = std::numeric_limits<double>::epsilon();

// The loss (a squared error) that is allowed beside (1 + τ)² times the optimum, in units of ‖W S‖²: the basis
// is rounded to single precision, which lets this much of the largest directions through. Where the optimum
// is so small that it counts, the solver ought to decline.
constexpr double rounding_of_basis = single * single;
// Of the reference: W S is formed in double.
constexpr double rounding_of_reference = 1e4 * twofold * twofold;

// ----------------------------------------------------------------------------------------------------
// problems

/// A layer and a metric `S Sᵀ` of which the test knows S itself.
struct stage_problem {
    std::string name;
    MatrixXd w;
    MatrixXd s;  ///< `n×r`; empty for I
    nsvd::metric metric;
    bool benign = true;  ///< no route may decline
    bool tied = false;   ///< whether singular values are equal: a block Krylov space has only so many of each
};

/// A metric of its lower triangle; to read the other one is an error.
nsvd::metric matrix_metric(const MatrixXd& s, double shift, Index rank) {
    MatrixXd lower = s * s.transpose();
    lower.triangularView<Eigen::StrictlyUpper>().setConstant(std::numeric_limits<double>::quiet_NaN());
    return {std::move(lower), shift, nsvd::whitening::cholesky, rank, "gram"};
}

/// Inputs with a geometrically falling spectrum, some channels of them loud.
MatrixXd inputs(generator& g, Index n, Index tokens, double condition, Index loud = 0, double factor = 1.0) {
    const Index rank = std::min(n, tokens);
    MatrixXd x = support::cosines(g, n).leftCols(rank) * support::geometric(rank, condition).asDiagonal() *
                 support::cosines(g, rank);
    x *= std::sqrt(static_cast<double>(n)) / x.norm();
    for (Index i = 0; i < loud; ++i)
        x.row((7 * i + 3) % n) *= factor;
    return x;
}

MatrixXd with_values(generator& g, Index m, Index n, const VectorXd& values) {
    return support::cosines(g, m).leftCols(values.size()) * values.asDiagonal() *
           support::cosines(g, n).leftCols(values.size()).transpose();
}

/// Falls like that of a trained layer and is flat at its end.
VectorXd ordinary(Index size) {
    return support::geometric(size, 50.0).array() + 0.2;
}

/// In the metric I: the spectrum of W is the test's.
std::vector<stage_problem> plain_problems(Index m, Index n, std::uint64_t seed) {
    generator g(seed);
    const Index side = std::min(m, n);
    const auto flat = [&](Index count) { return VectorXd(VectorXd::Ones(count)); };
    const auto steps = [&](Index first, double rest) {
        VectorXd values = VectorXd::Constant(side, rest);
        values.head(first).setOnes();
        return values;
    };
    const auto loud = [&](double factor) {
        VectorXd values = ordinary(side);
        values.head(5) *= factor;
        return values;
    };
    const auto clustered = support::make_spectrum(support::shape_of_spectrum::clustered, side);
    const auto pairs = support::make_spectrum(support::shape_of_spectrum::pairs, side);
    std::vector<stage_problem> all;
    const auto add = [&](std::string name, MatrixXd w, bool benign) {
        all.push_back({std::move(name), std::move(w), {}, {}, benign});
    };
    const auto add_values = [&](const std::string& name, const VectorXd& values, bool benign = true) {
        add(name, with_values(g, m, n, values), benign);
    };
    const auto add_tied = [&](const std::string& name, const VectorXd& values, bool benign = true) {
        add_values(name, values, benign);
        all.back().tied = true;
    };
    add_values("ordinary", ordinary(side));
    add_tied("flat", flat(side), false);
    add("gaussian", g.gaussian(m, n), true);
    add_tied("clustered", clustered);
    add_tied("pairs", pairs);
    add_tied("step of 10 inside", steps(side / 10, 0.1));
    add_tied("step of 1000 inside", steps(side / 10, 1e-3));
    add_tied("step of 1e7 inside", steps(side / 10, 1e-7), false);
    add_tied("step of 10 outside", steps(side / 2, 0.1));
    add_tied("step of 1e7 outside", steps(side / 2, 1e-7), false);
    add_values("geometric 1e4", support::geometric(side, 1e4), false);
    add_values("geometric 1e12", support::geometric(side, 1e12), false);
    add_tied("rank 5", flat(5), false);
    add_values("rank of two thirds", VectorXd(ordinary(2 * side / 3)), false);
    add("zero", MatrixXd::Zero(m, n), false);
    for (const double factor : {20.0, 1e2, 1e3, 1e6})
        add_values("outlier directions " + std::to_string(factor), loud(factor), factor <= 1e3);
    for (const double factor : {20.0, 1e3, 1e6}) {
        MatrixXd w = with_values(g, m, n, ordinary(side));
        w.col(n / 3) *= factor;
        w.col(n / 2) *= factor;
        add("outlier columns " + std::to_string(factor), w, factor <= 1e3);
        w = with_values(g, m, n, ordinary(side));
        w.row(m / 3) *= factor;
        add("outlier row " + std::to_string(factor), w, factor <= 1e3);
    }
    MatrixXd w = with_values(g, m, n, ordinary(side));
    w.middleCols(n / 4, n / 8).setZero();
    w.middleRows(m / 4, m / 8).setZero();
    add("zero rows and columns", w, false);
    return all;
}

/// In metrics, W being an ordinary layer.
std::vector<stage_problem> metric_problems(Index m, Index n, std::uint64_t seed) {
    generator g(seed);
    std::vector<stage_problem> all;
    const auto layer = [&] { return with_values(g, m, n, ordinary(std::min(m, n))); };
    const auto add = [&](std::string name, MatrixXd s, nsvd::metric metric, bool benign) {
        all.push_back({std::move(name), layer(), std::move(s), std::move(metric), benign});
    };
    const auto diagonal = [&](const std::string& name, const VectorXd& s, bool benign) {
        add("diagonal " + name, s.asDiagonal(), nsvd::metric(nsvd::diagonal_factor(s)), benign);
    };
    const auto gram = [&](const std::string& name, const MatrixXd& x, bool benign, double shift = 0.0) {
        MatrixXd s = x;
        if (shift > 0.0) {
            s.conservativeResize(n, x.cols() + n);
            s.rightCols(n) = std::sqrt(shift) * MatrixXd::Identity(n, n);
        }
        add("gram " + name, s, matrix_metric(x, shift, std::min(n, x.cols())), benign);
    };

    VectorXd scales(n);
    for (double& s : scales)
        s = 0.5 + g.uniform();
    diagonal("mild", scales, true);
    for (const double factor : {20.0, 1e2, 1e3, 1e6}) {
        VectorXd s = scales;
        for (const Index i : {n / 5, n / 3, n / 2})
            s(i) *= factor;
        diagonal("outliers " + std::to_string(factor), s, factor <= 1e3);
    }
    VectorXd holes = scales;
    holes.segment(n / 4, n / 8).setZero();
    diagonal("with zeros", holes, m <= n / 2);
    diagonal("tiny", 1e-30 * scales, true);
    diagonal("huge", 1e30 * scales, true);

    gram("mild", inputs(g, n, 2 * n, 10.0), true);
    gram("as many tokens", inputs(g, n, n, 10.0), true);
    gram("of condition 1e6", inputs(g, n, 2 * n, 1e3), false);
    gram("of condition 1e12", inputs(g, n, 2 * n, 1e6), false);
    gram("of condition 1e12, shifted", inputs(g, n, 2 * n, 1e6), false, 1e-3);
    gram("of few tokens", inputs(g, n, 3 * n / 4, 10.0), false);
    gram("of very few tokens", inputs(g, n, n / 4, 10.0), false);
    gram("of few tokens, shifted", inputs(g, n, n / 4, 10.0), false, 0.1);
    for (const double factor : {20.0, 1e2, 1e3, 1e6})
        gram("outliers " + std::to_string(factor), inputs(g, n, 2 * n, 10.0, 3, factor), factor <= 1e3);
    gram("tiny", 1e-30 * inputs(g, n, 2 * n, 10.0, 2, 50.0), true);
    gram("huge", 1e30 * inputs(g, n, 2 * n, 10.0, 2, 50.0), true);
    MatrixXd silent = inputs(g, n, 2 * n, 10.0);
    silent.middleRows(n / 4, n / 8).setZero();
    gram("zero channels", silent, m <= n / 2);

    // Factors of the caller's own.
    nsvd::whitening_factor lower;
    lower.kind = nsvd::whitening::cholesky;
    lower.scale = scales;
    lower.basis = MatrixXd::Identity(n, n) +
                  MatrixXd(0.05 * g.gaussian(n, n)).triangularView<Eigen::StrictlyLower>().toDenseMatrix();
    lower.rank = n;
    add("lower factor", lower.dense(), nsvd::metric(lower), true);
    for (const Index rank : {n, 3 * n / 4}) {
        nsvd::whitening_factor thin;
        thin.kind = nsvd::whitening::eigen;
        thin.scale = scales;
        thin.basis = support::cosines(g, n).leftCols(rank) * support::geometric(rank, 10.0).asDiagonal();
        thin.rank = rank;
        add("factor of rank " + std::to_string(rank), thin.dense(), nsvd::metric(thin), rank == n);
    }
    return all;
}

// ------------------------------------------------------------------------------------------------------
// checks

/// A route that is forced, and where it may be.
struct way {
    const char* name;
    nsvd::detail::route route;
    bool right;
    bool known = false;  ///< whether the Gram matrix of the columns is
};
constexpr way krylov{"krylov", route::krylov, false};
constexpr way gram_krylov{"Gram + krylov", route::gram_krylov, false};
constexpr way gram_krylov_right{"Gram + krylov, right", route::gram_krylov, true};
constexpr way gram_direct{"Gram", route::gram_direct, false};
constexpr way gram_direct_right{"Gram, right", route::gram_direct, true};

std::vector<way> ways(Index m, Index n) {
    if (m < n) return {krylov, gram_krylov, gram_direct};
    const way known_krylov{"known Gram + krylov, right", route::gram_krylov, true, true};
    const way known_direct{"known Gram, right", route::gram_direct, true, true};
    if (m == n) return {krylov, gram_krylov, gram_direct, gram_krylov_right, gram_direct_right};
    return {krylov, gram_krylov_right, gram_direct_right, known_krylov, known_direct};
}

/// Blocks smaller than the rule's, which make a Krylov space of a small matrix as hard as that of a large
/// one.
solver_choice choice_of(const way& how, Index k, Index side, bool tied) {
    solver_choice choice;
    choice.route = how.route;
    choice.right = how.right;
    if (how.route == route::gram_direct) return choice;
    choice.block = tied ? 32 : std::clamp<Index>(k / 4, 8, 32);
    choice.dimension = std::min(2 * k + 3 * choice.block, side * 9 / 10);
    return choice;
}

struct tally {
    int asked = 0;
    int answered = 0;
    int certified = 0;
};

/// What one problem in one scalar is compared with.
template <class Scalar>
struct prepared {
    dense_matrix<Scalar> w;
    dense_matrix<Scalar> q;
    dense_matrix<Scalar> wq;
    MatrixXd a;       ///< (W − Q Qᵀ W) S
    double whole;     ///< ‖W S‖²
    VectorXd values;  ///< σ² of `a`
};

template <class Scalar>
prepared<Scalar> prepare(const stage_problem& p, const MatrixXd& q) {
    prepared<Scalar> result;
    result.w = p.w.template cast<Scalar>();
    result.q = q.template cast<Scalar>();
    const MatrixXd w = result.w.template cast<double>();
    result.wq = (w.transpose() * q).template cast<Scalar>();
    const MatrixXd rest = support::residual_after(w, q);
    result.a = p.s.size() > 0 ? MatrixXd(rest * p.s) : rest;
    result.whole = p.s.size() > 0 ? (w * p.s).squaredNorm() : w.squaredNorm();
    result.values = support::singular_values_of(result.a).cwiseAbs2();
    return result;
}

template <class Scalar>
void check_answer(const prepared<Scalar>& p, const leading_subspace<Scalar>& found, Index k, accuracy level,
                  bool left) {
    REQUIRE(found.basis.rows() == p.w.rows());
    REQUIRE(found.basis.cols() == k);
    REQUIRE(found.spectrum.size() >= k);
    REQUIRE(found.basis.allFinite());
    CHECK_FALSE(found.solver.empty());

    // Orthonormal to single precision, and to what was there before where that is a small part of W.
    const MatrixXd q = found.basis.template cast<double>();
    if (left) CHECK((q.transpose() * q - MatrixXd::Identity(k, k)).cwiseAbs().maxCoeff() <= 1e3 * single);
    const MatrixXd basis =
        support::householder_basis(support::residual_after(q, p.q.template cast<double>()));

    const double total = p.a.squaredNorm();
    const double loss = support::residual_after(p.a, basis).squaredNorm();
    const double optimum = p.values.tail(std::max<Index>(0, p.values.size() - k)).sum();
    const bool exact = std::min(p.w.rows(), p.w.cols()) <= nsvd::detail::exact_up_to;
    const double tau = nsvd::detail::excess_allowed(exact ? accuracy::exact : level);
    const double allowed = tau * (2.0 + tau);
    const double slack = (rounding_of_basis + rounding_of_reference) * p.whole;
    CAPTURE(found.solver, total, loss, optimum, loss / optimum - 1.0, allowed, found.gap, found.certified);
    CHECK(loss <= (1.0 + allowed) * optimum + slack);
    if (loss > (1.0 + allowed) * optimum + slack) return;  // the rest is false too

    // What it says of itself. An excess far below what is allowed may be that of the rounded basis.
    const double excess = (loss - optimum - slack) / optimum;
    CHECK(found.gap <= allowed);
    CHECK(found.gap + 0.3 * allowed >= excess / 3.0);
    if (found.certified) CHECK(excess <= allowed);
    CHECK(std::abs(found.total / total - 1.0) <= 1e-5);
    CHECK(std::abs(found.total - found.spectrum.head(k).sum() - loss) <= rounding_of_sums * total);
    // A Krylov space gives Ritz values: below the eigenvalues, in sum by the excess of the loss.
    const VectorXd error = found.spectrum.head(k) - p.values.head(k);
    CHECK(error.maxCoeff() <= rounding_of_values * p.values(0));
    CHECK(-error.minCoeff() <= rounding_of_values * p.values(0) + allowed * optimum);
    const Index count = std::min(found.spectrum.size(), p.values.size());
    CHECK((found.spectrum.head(count) - p.values.head(count)).maxCoeff() <= rounding_of_values * p.values(0));
}

/// The Gram matrix of the columns of W less the first `taken` of Q, as an earlier stage leaves it.
template <class Scalar>
residual_gram gram_of_columns(const prepared<Scalar>& data, Index taken, nsvd::workspace& pool) {
    const MatrixXd rest = support::residual_after(data.w.template cast<double>(),
                                                  data.q.template cast<double>().leftCols(taken));
    residual_gram result{nsvd::detail::scratch(pool, rest.cols(), rest.cols()), taken};
    auto lower = result.lower.span().matrix();
    lower.setConstant(std::numeric_limits<float>::quiet_NaN());
    lower.template triangularView<Eigen::Lower>() = (rest.transpose() * rest).template cast<float>();
    return result;
}

/// All routes at one rank; counts.
template <class Scalar>
void run(const stage_problem& p, const prepared<Scalar>& data, Index k, accuracy level, tally& count) {
    const Index m = data.w.rows();
    const Index n = data.w.cols();
    nsvd::workspace pool;
    std::optional<residual_gram> columns;
    single_precision_solver<Scalar> solver(data.w, data.q, data.wq, p.metric, level, pool, &columns);
    for (const way& how : ways(m, n)) {
        // A Gram matrix that is known leaves the accuracy what it is.
        if (how.known)
            columns = gram_of_columns(data, data.q.cols() / 3, pool);
        else
            columns.reset();
        CAPTURE(how.name, how.known, k);
        ++count.asked;
        const auto never = [](const VectorXd&) -> Index { throw nsvd::error("the rank was known"); };
        const auto found = solver.solve(choice_of(how, k, how.right ? n : m, p.tied), k, never);
        if (found) {
            ++count.answered;
            count.certified += found->certified ? 1 : 0;
            check_answer(data, *found, k, level, !how.right);
        } else {
            // Krylov iteration on the longer side has nothing to fall back on.
            const bool may = !p.benign || (how.route == route::krylov && m > n);
            CHECK(may);
            // Nothing may be left of what was taken off W in vain.
            if (!how.known) CHECK_FALSE(columns.has_value());
        }
    }
}

const std::vector<std::pair<Index, Index>> shapes{{136, 136}, {128, 196}, {196, 128}};

/// Two ranks, with and without directions that are there before.
template <class Scalar>
void run_all(const std::vector<stage_problem>& problems, std::uint64_t seed, tally& count) {
    int turn = 0;
    for (const stage_problem& p : problems) {
        generator g(seed + static_cast<std::uint64_t>(++turn));
        const Index m = p.w.rows();
        const Index n = p.w.cols();
        const Index side = std::min(m, n);
        CAPTURE(p.name, m, n, seed);
        const auto data = prepare<Scalar>(p, MatrixXd(m, 0));
        if (m == n || turn % 3 == 0) run(p, data, side / 8, accuracy::exact, count);
        run(p, data, side / 3, accuracy::balanced, count);
        // Those of a first stage in another metric, and random ones.
        const MatrixXd directions =
            turn % 2 == 0 ? MatrixXd(p.w.leftCols(side / 5)) : g.gaussian(m, side / 5);
        if (directions.norm() == 0.0) continue;
        const auto rest = prepare<Scalar>(p, support::householder_basis(directions));
        INFO("after other directions");
        run(p, rest, turn % 3 == 0 ? 3 : side / 6, accuracy::fast, count);
    }
}

}  // namespace

TEMPLATE_TEST_CASE("single precision: hard spectra of W", "[solver][single]", float, double) {
    tally count;
    std::uint64_t seed = 1000;
    for (const auto& [m, n] : shapes) {
        seed += 100;
        if (std::is_same_v<TestType, float> || m == n)
            run_all<TestType>(plain_problems(m, n, seed), seed, count);
    }
    CAPTURE(count.asked, count.answered, count.certified);
    CHECK(count.answered > count.asked / 2);
}

TEMPLATE_TEST_CASE("single precision: metrics", "[solver][single]", float, double) {
    tally count;
    std::uint64_t seed = 2000;
    for (const auto& [m, n] : shapes) {
        seed += 100;
        if (std::is_same_v<TestType, float> || m == n)
            run_all<TestType>(metric_problems(m, n, seed), seed, count);
    }
    CAPTURE(count.asked, count.answered, count.certified);
    CHECK(count.answered > count.asked / 2);
}

// A block Krylov space holds as many vectors of an eigenspace as a block has, until rounding brings the
// others.
TEST_CASE("single precision: more equal singular values than a block has vectors", "[solver][single]") {
    for (const Index equal : {40, 60, 100}) {
        const std::uint64_t seed = 3000 + static_cast<std::uint64_t>(equal);
        generator g(seed);
        const Index side = 560;
        const Index k = 120;  // all of them, and as much again of what falls off behind them
        VectorXd values(side);
        values << VectorXd::Ones(equal), 0.5 * support::geometric(side - equal, 20.0);
        const stage_problem p{"equal", with_values(g, side, side + 8, values), {}, {}, true, true};
        CAPTURE(equal, seed);
        const auto data = prepare<float>(p, MatrixXd(side, 0));
        nsvd::workspace pool;
        single_precision_solver<float> solver(data.w, data.q, data.wq, p.metric, accuracy::exact, pool);
        for (solver_choice choice :
             {solver_choice{route::krylov, false, 32, 230}, solver_choice{route::gram_krylov, false, 32, 230},
              solver_choice{route::krylov, false, 32, 324}}) {
            CAPTURE(choice.dimension);
            if (const auto found = solver.solve(choice, k, {}))
                check_answer(data, *found, k, accuracy::exact, true);
        }
    }
}

#if defined(NSVD_USE_LAPACK)
// Below that size every level is exact.
TEST_CASE("single precision: levels of accuracy beyond 1024", "[solver][single]") {
    const Index side = nsvd::detail::exact_up_to + 8;
    tally count;
    for (const bool loud : {false, true}) {
        generator g(4000);
        VectorXd values = ordinary(side);
        if (loud) values.head(6) *= 300.0;
        stage_problem p{loud ? "outliers" : "ordinary", {}, {}, {}, true, false};
        const MatrixXd left = support::cosines(g, side);
        const MatrixXd right = support::cosines(g, side);
        using nsvd::detail::op;
        const MatrixXd scaled = left * values.asDiagonal();
        p.w = nsvd::detail::multiply(scaled, op::none, right, op::transpose);
        CAPTURE(p.name);
        prepared<float> data;
        data.w = p.w.cast<float>();
        data.q.resize(side, 0);
        data.wq.resize(side, 0);
        data.a = data.w.cast<double>();
        data.whole = data.a.squaredNorm();
        // Rounding W to single precision moves the loss by far less than is allowed.
        data.values = values.cwiseAbs2();
        nsvd::workspace pool;
        for (const auto level : {accuracy::exact, accuracy::balanced, accuracy::fast}) {
            if (loud && level != accuracy::balanced) continue;
            CAPTURE(static_cast<int>(level));
            single_precision_solver<float> solver(data.w, data.q, data.wq, p.metric, level, pool);
            for (const auto& [how, k] : {std::pair(krylov, Index{90}), std::pair(gram_krylov, Index{300}),
                                         std::pair(gram_direct, Index{500})}) {
                CAPTURE(how.name, k);
                solver_choice choice;
                choice.route = how.route;
                choice.block = 48;
                choice.dimension = (level == accuracy::exact      ? 19
                                    : level == accuracy::balanced ? 17
                                                                  : 15) *
                                   k / 10;
                ++count.asked;
                const auto found = solver.solve(choice, k, {});
                CHECK(found.has_value());
                if (!found) continue;
                ++count.answered;
                count.certified += found->certified ? 1 : 0;
                check_answer(data, *found, k, level, true);
            }
        }
    }
    CAPTURE(count.asked, count.answered, count.certified);
    CHECK(count.certified > 0);
}
#endif

TEST_CASE("single precision: the rank may come from the spectrum", "[solver][single]") {
    for (const auto& [m, n] : shapes) {
        const std::uint64_t seed = 5000 + static_cast<std::uint64_t>(m);
        generator g(seed);
        CAPTURE(m, n, seed);
        const Index side = std::min(m, n);
        const stage_problem p{"ordinary", with_values(g, m, n, ordinary(side)), {}, {}, true, false};
        const auto data = prepare<double>(p, MatrixXd(m, 0));
        nsvd::workspace pool;
        single_precision_solver<double> solver(data.w, data.q, data.wq, p.metric, accuracy::exact, pool);
        Index asked = 0;
        const auto ask = [&](const VectorXd& squares) {
            REQUIRE(squares.size() == side);
            CHECK((squares - data.values).cwiseAbs().maxCoeff() <= 100 * single * data.values(0));
            ++asked;
            return side / 3;
        };
        const auto found =
            solver.solve(choice_of(m > n ? gram_direct_right : gram_direct, 0, side, false), {}, ask);
        CHECK(asked == 1);
        REQUIRE(found);
        CHECK(found->spectrum.size() == side);
        check_answer(data, *found, side / 3, accuracy::exact, m <= n);
    }
}

TEST_CASE("single precision: the same bits again, whatever the workspace held", "[solver][single]") {
    const std::uint64_t seed = 6000;
    generator g(seed);
    const Index m = 130;
    const Index n = 170;
    const stage_problem p{"gram",
                          with_values(g, m, n, ordinary(m)),
                          {},
                          matrix_metric(inputs(g, n, 2 * n, 10.0, 2, 300.0), 0.0, n)};
    const auto data = prepare<float>(p, MatrixXd(m, 0));
    for (const way& how : ways(m, n)) {
        CAPTURE(how.name);
        const auto solve = [&](nsvd::workspace& pool) {
            single_precision_solver<float> solver(data.w, data.q, data.wq, p.metric, accuracy::exact, pool);
            return solver.solve(choice_of(how, 20, m, false), Index{20}, {});
        };
        nsvd::workspace fresh;
        const auto first = solve(fresh);
        REQUIRE(first);
        CHECK(fresh.bytes() > 0);
        nsvd::workspace used;
        {
            nsvd::detail::scratch a(used, m, m);
            nsvd::detail::scratch b(used, 300, 400);
            nsvd::detail::scratch c(used, 3, 3);
            for (auto* s : {&a, &b, &c})
                s->span().matrix().setConstant(std::numeric_limits<float>::quiet_NaN());
        }
        for (nsvd::workspace* pool : {&fresh, &used}) {
            const auto again = solve(*pool);
            REQUIRE(again);
            CHECK((again->basis.array() == first->basis.array()).all());
            CHECK((again->spectrum.array() == first->spectrum.array()).all());
            CHECK(again->gap == first->gap);
        }
    }
}

TEMPLATE_TEST_CASE("single precision: a stage leaves the Gram matrix of a tall W to the next",
                   "[solver][single]", float, double) {
    generator g(4711);
    const Index m = 200;
    const Index n = 120;
    const auto left_by = [&](const nsvd::metric& metric, const MatrixXd& w, const MatrixXd& q) {
        const dense_matrix<TestType> weights = w.cast<TestType>();
        const dense_matrix<TestType> wq = (w.transpose() * q).template cast<TestType>();
        nsvd::workspace pool;
        std::optional<residual_gram> columns;
        const dense_matrix<TestType> basis = q.cast<TestType>();
        single_precision_solver<TestType> solver(weights, basis, wq, metric, accuracy::exact, pool, &columns);
        const auto never = [](const VectorXd&) -> Index { throw nsvd::error("the rank was known"); };
        REQUIRE(solver.solve(choice_of(gram_direct_right, n / 4, n, false), n / 4, never));
        REQUIRE(columns.has_value());
        return std::pair(columns->taken, MatrixXd(columns->lower.span()
                                                      .matrix()
                                                      .template triangularView<Eigen::Lower>()
                                                      .toDenseMatrix()
                                                      .template cast<double>()));
    };
    VectorXd scales(n);
    for (double& s : scales)
        s = std::exp(2.0 * g.uniform());
    const MatrixXd w = with_values(g, m, n, ordinary(n));
    for (const Index count : {0, 7})
        for (const auto& metric : {nsvd::metric(), nsvd::metric(nsvd::diagonal_factor(1e9 * scales)),
                                   matrix_metric(inputs(g, n, 2 * n, 10.0), 0.0, n)}) {
            const MatrixXd q = support::householder_basis(g.gaussian(m, count));
            const auto [taken, lower] = left_by(metric, w, q);
            const MatrixXd rest = support::residual_after(w, q);
            const MatrixXd expected = (rest.transpose() * rest).template triangularView<Eigen::Lower>();
            CAPTURE(count, metric.name());
            CHECK(taken == count);
            CHECK((lower - expected).norm() <= 10.0 * single * expected.norm());
        }
    // Directions that are taken off W before anything is formed are counted.
    MatrixXd loud = w;
    loud.col(n / 3) *= 1e4;
    const auto [taken, lower] = left_by(nsvd::metric(), loud, MatrixXd(m, 0));
    CHECK(taken == 1);
    CHECK(lower.trace() < 2.0 * w.squaredNorm());

    // Where a channel is missing from the metric nothing is left.
    VectorXd holes = scales;
    holes(3) = 0.0;
    const nsvd::metric silent(nsvd::diagonal_factor(holes));
    const dense_matrix<TestType> q(m, 0);
    const dense_matrix<TestType> weights = w.cast<TestType>();
    const dense_matrix<TestType> wq(n, 0);
    nsvd::workspace pool;
    std::optional<residual_gram> columns;
    single_precision_solver<TestType> solver(weights, q, wq, silent, accuracy::exact, pool, &columns);
    (void)solver.solve(choice_of(gram_direct_right, n / 4, n, false), n / 4,
                       [](const VectorXd&) -> Index { return 0; });
    CHECK_FALSE(columns.has_value());
}
