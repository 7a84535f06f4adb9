// SPDX-License-Identifier: MIT
// Every call of LAPACK made to fail: one at a time, all from one on, all of some routines. What comes back is
// as good as it was without, or says that it is not.
#include "lapack_faults.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using support::lapack_faults;

/// What a call gave.
struct answer {
    /// It says itself that it is not what was asked for: `not_converged`, an infinite loss.
    bool given_up = false;
    /// Errors of it and the like, measured apart from the library, in [0, 1] or so.
    std::vector<double> figures;
    /// What holds whether or not it has given up; how far from it the answer is, in what is allowed.
    double defect = 0.0;
    std::string solver;
};

struct scenario {
    std::string name;
    std::function<answer()> call;
    double tolerance;         ///< of the figures, relative
    double rounding = 1e-12;  ///< the same, absolute
    bool may_throw = false;   ///< where nothing converges: the result has no place for a status
};

double maximum(double a, double b) {
    return std::isnan(a) || std::isnan(b) ? std::numeric_limits<double>::infinity() : std::max(a, b);
}

/// Both errors of a decomposition of w for the inputs x, and `W′ = Q Qᵀ W` with orthonormal Q, to 100·eps·√k
/// (30·eps was measured).
template <class Scalar>
answer of(const nsvd::low_rank<Scalar>& d, const MatrixXd& w, const MatrixXd& x) {
    answer a;
    a.given_up = d.info.status == nsvd::status::not_converged;
    a.solver = d.info.solver;
    const MatrixXd left = d.left.template cast<double>();
    const MatrixXd right = d.right.template cast<double>();
    const MatrixXd rest = w - left * right;
    a.figures = {(rest * x).norm() / (w * x).norm(), rest.norm() / w.norm()};
    const double allowed =
        100.0 * static_cast<double>(std::numeric_limits<Scalar>::epsilon()) * std::sqrt(d.rank());
    const bool columns = std::any_of(d.info.stages.begin(), d.info.stages.end(),
                                     [](const auto& stage) { return stage.columns; });
    if (!left.allFinite() || !right.allFinite()) a.defect = std::numeric_limits<double>::infinity();
    if (!columns) {
        const MatrixXd gram = left.transpose() * left;
        a.defect = maximum(a.defect, (gram - MatrixXd::Identity(d.rank(), d.rank())).norm() / allowed);
        a.defect = maximum(a.defect, (left.transpose() * w - right).norm() / (allowed * w.norm()));
    }
    return a;
}

/// Where a call has to do what it did in spite of `rule`: empty, or what is wrong with what it did.
std::string complaint(const scenario& s, const answer& clean, const lapack_faults::rule& rule) {
    const lapack_faults faults(rule);
    std::ostringstream text;
    try {
        const answer found = s.call();
        if (!(found.defect <= 1.0)) text << "broken result, " << found.defect << "; ";
        if (found.given_up) return text.str();
        for (std::size_t i = 0; i < found.figures.size(); ++i)
            if (!(std::abs(found.figures[i] - clean.figures[i]) <=
                  s.tolerance * clean.figures[i] + s.rounding))
                text << "figure " << i << " is " << found.figures[i] << ", not " << clean.figures[i]
                     << ", by " << found.solver << "; ";
    } catch (const nsvd::error& e) {
        // What can't fail numerically does so only where LAPACK itself is broken.
        const bool refused = std::string_view(e.what()).starts_with("LAPACK: ");
        if (!refused && !s.may_throw) text << "throws: " << e.what();
    } catch (const std::exception& e) {
        text << "throws what is no nsvd::error: " << e.what();
    }
    return text.str();
}

enum class thoroughness { all_ways, each_once, some };

/// Fails the calls of LAPACK that a scenario makes; returns the routines that it calls.
std::set<std::string> fail_in_turn(const scenario& s, thoroughness how) {
    INFO(s.name);
    int calls = 0;
    std::set<std::string> routines;
    answer clean;
    {
        const lapack_faults counted;
        clean = s.call();
        calls = counted.calls();
        for (const auto& [routine, count] : counted.by_routine())
            routines.insert(routine);
    }
    INFO(calls << " calls, by " << clean.solver);
    CHECK_FALSE(clean.given_up);
    CHECK(clean.defect <= 1.0);
    std::string complaints;
    int bad = 0;
    const auto attempt = [&](const std::string& name, const lapack_faults::rule& rule) {
        const std::string text = complaint(s, clean, rule);
        if (!text.empty() && ++bad <= 5) complaints += name + ": " + text + "\n";
    };
    const int stride = how == thoroughness::some ? std::max(1, calls / 4) : 1;
    for (int i = 0; i < calls; i += stride) {
        const std::string number = std::to_string(i);
        attempt("call " + number, [=](auto, int call) { return call == i ? 1 : 0; });
        if (how != thoroughness::all_ways) continue;
        attempt("call " + number + " with -5", [=](auto, int call) { return call == i ? -5 : 0; });
        attempt("calls from " + number, [=](auto, int call) { return call >= i ? 3 : 0; });
    }
    attempt("all calls", [](auto, int) { return 1; });
    // All calls of some of the routines; what takes their place may call others.
    const std::vector<std::string> list(routines.begin(), routines.end());
    for (unsigned set = 1; set < 1U << list.size(); ++set) {
        if (how != thoroughness::all_ways && (set & (set - 1)) != 0) continue;
        std::string name = "all calls of";
        std::set<std::string, std::less<>> some;
        for (std::size_t i = 0; i < list.size(); ++i)
            if ((set >> i & 1U) != 0) {
                some.insert(list[i]);
                name += ' ' + list[i];
            }
        attempt(name, [=](std::string_view routine, int) { return some.contains(routine) ? 1 : 0; });
        // Nothing behind them either.
        some.insert({"dsyev", "dgeqrf", "sgeqrf"});
        attempt(name + ", dsyev and QR",
                [=](std::string_view routine, int) { return some.contains(routine) ? 1 : 0; });
    }
    INFO(complaints);
    CHECK(bad == 0);
    return routines;
}

/// A layer and inputs; `float` numbers, so that both scalars have the same.
struct problem {
    MatrixXd w;
    MatrixXd x;

    problem(Index m, Index n, Index tokens, double outlier = 1.0) {
        w = support::gaussian(m, n, 1) *
            support::geometric(n, 1.0, std::pow(1e-2, 1.0 / static_cast<double>(n))).asDiagonal();
        x = support::gaussian(n, tokens, 2);
        for (Index i = 0; i < n; i += 7)
            x.row(i) *= outlier;
        w = w.cast<float>().cast<double>();
        x = x.cast<float>().cast<double>();
    }
    [[nodiscard]] nsvd::calibration<float> calib(nsvd::moments about = nsvd::moments::raw) const {
        nsvd::calibration<float> c(w.cols(), about);
        c.update(x);
        return c;
    }
};

/// What routines all tests have called.
std::set<std::string>& reached() {
    static std::set<std::string> routines;
    return routines;
}

void run(const std::vector<scenario>& scenarios, thoroughness how) {
    for (const scenario& s : scenarios)
        reached().merge(fail_in_turn(s, how));
}

/// All methods at one rank, as scenarios.
template <class Scalar>
std::vector<scenario> methods(const problem& p, Index k, nsvd::accuracy level, double tolerance) {
    using nsvd::whitening;
    using matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
    const matrix w = p.w.cast<Scalar>();
    const nsvd::rank rank{k};
    const auto calib = p.calib();
    std::vector<scenario> all;
    const auto add = [&](const std::string& name, auto decompose) {
        all.push_back({name + (std::is_same_v<Scalar, float> ? " float" : " double"),
                       [=] { return of(decompose(), p.w, p.x); }, tolerance,
                       4.0 * static_cast<double>(std::numeric_limits<Scalar>::epsilon())});
    };
    add("svd", [=] { return nsvd::svd(w, rank, {.accuracy = level}); });
    add("asvd-0",
        [=] { return nsvd::asvd(w, calib, rank, {.whitening = whitening::diagonal, .accuracy = level}); });
    add("asvd-1", [=] { return nsvd::asvd(w, calib, rank, {.accuracy = level}); });
    add("asvd-2",
        [=] { return nsvd::asvd(w, calib, rank, {.whitening = whitening::eigen, .accuracy = level}); });
    add("nsvd-1", [=] { return nsvd::nested(w, calib, rank, {.share = 0.7, .accuracy = level}); });
    add("nid-1", [=] {
        return nsvd::nested(w, calib, rank,
                            {.share = 0.7, .residual = nsvd::residual::interpolative, .accuracy = level});
    });
    add("four stages", [=] {
        return nsvd::decompose(w,
                               {{nsvd::gram_metric(calib), 0.4},
                                {nsvd::diagonal_metric(calib), 0.2},
                                {nsvd::metric(nsvd::eigen_factor(calib.gram())), 0.2},
                                {nsvd::metric(), 0.2}},
                               rank, {.accuracy = level});
    });
    return all;
}

/// ‖S Sᵀ − M‖/‖M‖ and ‖S S⁺ − I‖ for a factor of a regular M.
answer of(const nsvd::whitening_factor& f, const MatrixXd& m) {
    answer a;
    a.given_up = !f.converged;
    const MatrixXd s = f.dense();
    if (!s.allFinite()) a.defect = std::numeric_limits<double>::infinity();
    a.figures = {1.0 + (s * s.transpose() - m).norm() / m.norm(), static_cast<double>(f.rank)};
    return a;
}

}  // namespace

TEMPLATE_TEST_CASE("LAPACK fails: decompositions of small matrices", "[faults][lapack]", float, double) {
    for (const auto& [m, n] : {std::pair(24, 24), std::pair(18, 30), std::pair(30, 18)})
        run(methods<TestType>(problem(m, n, 90, 30.0), 9, nsvd::accuracy::balanced, 2e-5),
            thoroughness::all_ways);
    // Fewer tokens than channels, outliers that want a second pass, full rank, a rank that looks at the
    // spectrum.
    const problem few(20, 24, 15, 1e5);
    run(methods<TestType>(few, 10, nsvd::accuracy::balanced, 2e-5), thoroughness::all_ways);
    run(methods<TestType>(few, 20, nsvd::accuracy::balanced, 2e-5), thoroughness::all_ways);
}

TEST_CASE("LAPACK fails: ranks that come from the spectrum", "[faults][lapack]") {
    const problem p(30, 24, 90);
    const auto calib = p.calib();
    const auto call = [&](const auto& policy) {
        return of(nsvd::nested(p.w, calib, policy, {.share = 0.8}), p.w, p.x);
    };
    run({{"energy", [&] { return call(nsvd::energy{0.9}); }, 2e-5},
         {"tolerance", [&] { return call(nsvd::tolerance{0.2}); }, 2e-5}},
        thoroughness::all_ways);
}

TEMPLATE_TEST_CASE("LAPACK fails: single precision, to the accuracy of exact solvers", "[faults][lapack]",
                   float, double) {
    const problem p =
        std::is_same_v<TestType, float> ? problem(520, 530, 700, 30.0) : problem(530, 520, 700, 30.0);
    const Index k = std::is_same_v<TestType, float> ? 12 : 60;
    run(methods<TestType>(p, k, nsvd::accuracy::exact, 2e-5), thoroughness::some);
}

// By hand, a quarter of an hour: nsvd_fault_tests "[every_call]".
TEMPLATE_TEST_CASE("LAPACK fails: single precision, every call", "[.][every_call]", float, double) {
    for (const auto& [m, n, k] : {std::tuple(520, 530, 12), std::tuple(530, 520, 60)})
        run(methods<TestType>(problem(m, n, 700, 30.0), k, nsvd::accuracy::exact, 2e-5),
            thoroughness::each_once);
}

TEST_CASE("LAPACK fails: every route of large matrices", "[faults][lapack]") {
    // τ = 5e-4 of a stage's error, and what that changes in the stage after it.
    constexpr double tolerance = 1e-3;
    const problem p(1040, 1032, 900, 30.0);  // a singular metric
    const auto calib = p.calib();
    const Eigen::MatrixXf w = p.w.cast<float>();
    std::set<std::string> solvers;
    const auto scenario_of = [&](const char* name, auto decompose) {
        return scenario{name,
                        [&, decompose] {
                            answer a = of(decompose(), p.w, p.x);
                            solvers.insert(a.solver);
                            return a;
                        },
                        tolerance};
    };
    run({scenario_of("few directions", [&] { return nsvd::nested(w, calib, nsvd::rank{24}); }),
         scenario_of("plain", [&] { return nsvd::svd(w, nsvd::rank{24}); }),
         scenario_of("many directions", [&] { return nsvd::asvd(w, calib, nsvd::rank{260}); }),
         scenario_of("from the spectrum", [&] { return nsvd::asvd(w, calib, nsvd::energy{0.8}); })},
        thoroughness::some);
    for (const char* solver : {"block Krylov (single)", "Gram + block Krylov (single)",
                               "Gram + ssytrd + sstedc (single)", "dsyevd", "dsyev"}) {
        INFO(solver);
        CHECK(solvers.contains(solver));
    }
}

TEST_CASE("LAPACK fails: whitening factors", "[faults][lapack]") {
    for (const double outlier : {1.0, 1e4}) {
        const MatrixXd m = problem(4, 20, 60, outlier).calib().gram();
        run({{"cholesky_factor", [&] { return of(nsvd::cholesky_factor(m), m); }, 1e-9},
             {"eigen_factor", [&] { return of(nsvd::eigen_factor(m), m); }, 1e-9},
             {"whiten", [&] { return of(nsvd::whiten(m), m); }, 1e-9}},
            thoroughness::all_ways);
    }
    const MatrixXd singular = problem(4, 20, 12).calib().gram();
    run({{"cholesky_factor, singular", [&] { return of(nsvd::cholesky_factor(singular), singular); }, 1e-9},
         {"whiten, singular", [&] { return of(nsvd::whiten(singular), singular); }, 1e-9}},
        thoroughness::all_ways);
}

TEST_CASE("LAPACK fails: anchored regression", "[faults][lapack]") {
    const problem p(20, 24, 90);
    for (const Index tokens : {90, 15}) {
        const MatrixXd a = p.x.leftCols(tokens);
        const MatrixXd b = a + 0.1 * support::gaussian(24, tokens, 5);
        nsvd::calibration<double> calib(24);
        calib.update(a, b);
        const auto target = [&](double epsilon) {
            const MatrixXd t = nsvd::anchored_target(p.w, calib, {.epsilon = epsilon});
            answer found;
            found.figures = {(p.w * a - t * b).norm() / (p.w * a).norm(), t.norm() / p.w.norm()};
            return found;
        };
        const auto compressed = [&](double epsilon) {
            const auto d = nsvd::anchored(p.w, calib, nsvd::rank{8}, {.epsilon = epsilon, .share = 0.8});
            answer found;
            found.given_up = d.info.status == nsvd::status::not_converged;
            found.figures = {(p.w * a - d.dense() * b).norm() / (p.w * a).norm()};
            if (!d.left.allFinite() || !d.right.allFinite())
                found.defect = std::numeric_limits<double>::infinity();
            return found;
        };
        for (const double epsilon : {0.03, 0.0})
            run({{"anchored_target", [&] { return target(epsilon); }, 2e-5, 1e-12, true},
                 {"anchored", [&] { return compressed(epsilon); }, 2e-5}},
                thoroughness::all_ways);
    }
}

TEST_CASE("LAPACK fails: one decomposition for every rank, held-out losses", "[faults][lapack]") {
    for (const Index tokens : {90, 15}) {
        const problem p(24, 20, tokens, 10.0);
        const auto calib = p.calib();
        nsvd::calibration<float> other(20);
        other.update(support::gaussian(20, 60, 8));
        const std::vector<nsvd::tuning> grid{
            {}, {.share = 0.8}, {.share = 0.8, .blend = 0.1}, {.whitening = nsvd::whitening::diagonal}};
        run({{"every_rank",
              [&] { return of(nsvd::every_rank(p.w, nsvd::gram_metric(calib)).take(7), p.w, p.x); }, 2e-5},
             {"every_rank with a share",
              [&] { return of(nsvd::every_rank(p.w, nsvd::gram_metric(calib)).take(12, 0.7), p.w, p.x); },
              2e-5},
             {"held_out_losses",
              [&] {
                  answer a;
                  a.figures = nsvd::held_out_losses(p.w, calib, other, 9, grid);
                  // Of several candidates those that have a loss have the right one.
                  for (double& loss : a.figures)
                      if (loss == std::numeric_limits<double>::infinity()) a.given_up = true;
                  return a;
              },
              2e-5}},
            thoroughness::all_ways);
    }
}

TEST_CASE("LAPACK fails: what is made of a decomposition", "[faults][lapack]") {
    const problem p(26, 20, 90);
    const auto calib = p.calib();
    nsvd::calibration<float> other(20);
    other.update(support::gaussian(20, 60, 8));
    const auto d = nsvd::asvd(p.w, calib, nsvd::rank{8});
    const auto whole = d.dense();
    const auto pivoted = [&] {
        const auto q = nsvd::pivot(d);
        answer a;
        a.figures = {1.0 + (q.dense() - whole).norm() / whole.norm()};
        a.defect = maximum(q.growth() / 2.0 - 1e-9, 0.0);
        return a;
    };
    const auto numbers = [&](auto make) {
        return [=] {
            answer a;
            a.figures = make();
            return a;
        };
    };
    const auto alike = [&] {
        const auto s = nsvd::similarity(calib, other, 5);
        std::vector<double> all{s.means, s.mean_abs, s.grams};
        all.insert(all.end(), s.principal_cosines.begin(), s.principal_cosines.end());
        return all;
    };
    const auto joint = [&] {
        const MatrixXd stacked = nsvd::stack_rows(p.w, MatrixXd(2.0 * p.w));
        const auto both = nsvd::asvd(stacked, calib, nsvd::rank{8});
        const std::vector<nsvd::index> heights{26, 26};
        const auto parts = nsvd::split_rows(both, heights);
        answer a = of(both, stacked, p.x);
        a.given_up = parts[1].info.status == nsvd::status::not_converged;
        return a;
    };
    run({{"pivot", pivoted, 1e-9},
         {"truncate, weighted_error, plain_error", numbers([&] {
              return std::vector<double>{nsvd::weighted_error(p.w, d.truncate(5), calib),
                                         nsvd::plain_error(p.w, d)};
          }),
          1e-9},
         {"interpolative",
          numbers([&] { return std::vector<double>{nsvd::interpolative(p.w, nsvd::rank{6}).error}; }), 1e-9},
         {"bias_correction",
          numbers([&] { return std::vector<double>{nsvd::bias_correction(p.w, d, calib).norm()}; }), 1e-9},
         {"similarity", numbers(alike), 1e-7, 1e-12, true},
         {"joint", joint, 2e-5}},
        thoroughness::all_ways);
}

TEST_CASE("LAPACK fails: which solver ran is told", "[faults][lapack]") {
    const problem p(20, 24, 90);
    const auto with = [&](std::set<std::string, std::less<>> failing) {
        const lapack_faults faults([=](std::string_view r, int) { return failing.contains(r) ? 1 : 0; });
        const auto d = nsvd::svd(p.w, nsvd::rank{5});
        return std::pair(d.info.solver, d.info.status);
    };
    CHECK(with({}) == std::pair(std::string("dsyevd"), nsvd::status::ok));
    CHECK(with({"dsyevd"}) == std::pair(std::string("dsyev"), nsvd::status::ok));
    CHECK(with({"dsyevd", "dsyev"}).second == nsvd::status::not_converged);
}

// The last of this file. Where only some of the tests run there is nothing to be complete.
TEST_CASE("LAPACK fails: no routine was left out", "[faults][lapack]") {
    std::istringstream list(NSVD_LAPACK_ROUTINES);
    std::set<std::string> all;
    for (std::string name; list >> name;)
        all.insert(name.substr(8, name.size() - 8 - 5));  // LAPACKE_dsyevd_work
    REQUIRE(all.size() >= 10);
    if (reached().size() < 8) return;
    // dsyev and those of QR are called where others have failed.
    for (const char* behind : {"dsyev", "sgeqrf", "dgeqrf", "sorgqr", "dorgqr"})
        reached().insert(behind);
    CHECK(reached() == all);
}
