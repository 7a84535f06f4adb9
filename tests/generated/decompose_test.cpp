// SPDX-License-Identifier: MIT
// Any method on any layer: what each stage leaves against the optimum, and what must not change a result.
#include "layer.hpp"
#include "property.hpp"
#include "stages.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

namespace {

using namespace generated;

/// To the bit in `left`, but for powers of channels, which std::pow may round otherwise at another scale.
/// Products in the scalar of the factors may sum in another order for another leading dimension.
template <class Scalar>
void check_same(const layer_case& c, const matrices<Scalar>& l, const in_double& d, const in_double& e) {
    const double rounding = roundings_of(c, l, problem_of(c, l.exact)).plain;
    const bool rounded =
        c.method == method::columns || c.method == method::diagonal || c.method == method::diagonal_max;
    // Rounding may turn the signs of directions, and directions of like values into one another.
    if (!rounded) RC_ASSERT(d.left == e.left);
    within("W'", (d.left * d.right - e.left * e.right).norm(), rounding);
}

}  // namespace

TEST_CASE("every stage of every method reaches the optimum", "[generated]") {
    for_all("optimum", 2000, [](const layer_case& c) {
        with_matrices(c, [&](const auto& l) {
            const auto d = decompose(c, l.w_in.view(), l.calib, nsvd::rank{c.k});
            RC_ASSERT(d.rank() == c.k);
            check_stages(c, l, d);
        });
    });
}

TEST_CASE("a smaller rank is a result, too", "[generated]") {
    for_all("truncate and every_rank", 600, [](const layer_case& c) {
        with_matrices(c, [&](const auto& l) {
            const auto whole = decompose(c, l.w_in.view(), l.calib, nsvd::rank{c.full_rank()});
            check_stages(c, l, whole);
            if (whole.info.stages.front().share == 1.0) {
                const auto cut = whole.truncate(c.k);
                RC_ASSERT(cut.left == whole.left.leftCols(c.k));
                check_stages(c, l, cut);
            }
            if (c.method == method::central || c.method == method::anchored) return;
            const nsvd::every_rank every(l.w_in.view(), nsvd::gram_metric(l.calib));
            layer_case as = c;
            as.method = method::cholesky;
            check_stages(as, l, every.take(c.k));
            as.method = method::nested;
            const auto two = every.take(c.k, c.share / 1000.0);
            RC_ASSERT(two.rank() == c.k);
            // Its `right` are sums of as many rows, which may be denormal.
            check_stages(as, l, two, std::sqrt(static_cast<double>(c.full_rank())));
        });
    });
}

TEST_CASE("where the numbers lie makes no difference", "[generated]") {
    for_all("layouts", 600, [](const layer_case& c) {
        with_matrices(c, [&](const auto& l) {
            layer_case plain = c;
            plain.layout = layout::columns;
            const std::decay_t<decltype(l)> other(plain);
            const auto d = decompose(c, l.w_in.view(), l.calib, nsvd::rank{c.k});
            const auto e = decompose(plain, other.w_in.view(), other.calib, nsvd::rank{c.k});
            RC_ASSERT(l.calib.gram() == other.calib.gram());
            check_same(c, l, in_double(d, c.w_scale), in_double(e, c.w_scale));
        });
    });
}

TEST_CASE("powers of two change nothing but units", "[generated]") {
    for_all("scales", 600, [](layer_case c) {
        // No rounding at either scale, and s = √mean |x| only for even exponents.
        c.scalar = c.scalar == scalar::f64 ? scalar::f64 : scalar::f32;
        c.w_scale = c.w_scale > 0 ? std::min(c.w_scale, 50) : 0;
        c.x_scale = c.x_scale > 0 ? 2 * std::min(c.x_scale, 20) : 0;
        layer_case base = c;
        base.w_scale = base.x_scale = 0;
        with_matrices(c, [&](const auto& l) {
            const std::decay_t<decltype(l)> other(base);
            const auto d = in_double(decompose(c, l.w_in.view(), l.calib, nsvd::rank{c.k}), c.w_scale);
            const auto e = in_double(decompose(base, other.w_in.view(), other.calib, nsvd::rank{c.k}), 0);
            check_same(c, l, d, e);
        });
    });
}

TEST_CASE("rotations and the order of the inputs change nothing but rounding", "[generated]") {
    for_all("invariances", 500, [](layer_case c) {
        c.scalar = scalar::f64;
        c.w_scale = c.x_scale = 0;
        if (c.method == method::diagonal || c.method == method::diagonal_max || c.method == method::columns ||
            c.method == method::central)
            c.method = method::eigen;
        support::generator g(c.seed + 1);
        const numbers drawn = draw_numbers(c);
        numbers turned = drawn;
        turned.w = g.orthonormal(c.m, c.m) * drawn.w;
        const MatrixXd rotation = g.orthonormal(c.tokens, c.tokens);
        turned.x = -1.7 * drawn.x * rotation;
        turned.a = -1.7 * drawn.a * rotation;
        // Losses, which are determined where values are tied, too.
        const auto loss = [&](const numbers& all) {
            const matrices<double> l(c, all);
            return decompose(c, l.w_in.view(), l.calib, nsvd::rank{c.k}).info.stages.front();
        };
        const matrices<double> l(c, drawn);
        const problem p = problem_of(c, l.exact);
        const double noise = roundings_of(c, l, p).weighted;
        const double unit = c.method == method::svd ? 1.0 : 1.7;
        const auto before = loss(drawn), after = loss(turned);
        within("loss after rotations", std::abs(std::sqrt(before.loss) - std::sqrt(after.loss) / unit),
               1e-6 * std::sqrt(before.loss) + noise);
        within("total after rotations", std::abs(std::sqrt(before.total) - std::sqrt(after.total) / unit),
               1e-9 * std::sqrt(before.total) + noise);
    });
}

TEST_CASE("no method beats the one that is made for the metric", "[generated]") {
    for_all("optima of each other", 300, [](const layer_case& c) {
        with_matrices(c, [&](const auto& l) {
            if (c.method == method::anchored || c.method == method::central) return;
            const nsvd::rank k{c.k};
            const auto& w = l.w_in.view();
            const auto measure = [&](const layer_case& as) {
                const auto d = decompose(as, w, l.calib, k);
                const in_double factors(d, c.w_scale);
                const MatrixXd rest = l.exact.w - factors.left * factors.right;
                return std::pair{(rest * l.exact.x).norm(), rest.norm()};
            };
            layer_case as = c;
            const auto other = measure(as);
            as.method = method::svd;
            const auto plain = measure(as);
            as.method = method::cholesky;
            const problem p = problem_of(as, l.exact);
            const roundings rounding = roundings_of(as, l, p);
            const auto one = measure(as);
            as.method = method::eigen;
            const auto two = measure(as);
            within("ASVD-I is ASVD-II", std::abs(one.first - two.first),
                   1e-6 * one.first + 2 * rounding.weighted);
            within("ASVD-I with the inputs", one.first, other.first * (1 + 1e-6) + 2 * rounding.weighted);
            within("SVD without them", plain.second, other.second * (1 + 1e-6) + 2 * rounding.plain);
            as.method = method::blended;
            const auto mixed = measure(as);
            const auto objective = [&](const auto& e) {
                return std::hypot(e.first,
                                  e.second * l.exact.x.norm() * std::sqrt(blend / static_cast<double>(c.n)));
            };
            within("blended in its own objective", objective(mixed),
                   objective(other) * (1 + 1e-6) + 4 * rounding.weighted);
        });
    });
}

TEST_CASE("pivoted storage loses nothing", "[generated]") {
    for_all("pivot", 600, [](layer_case c) {
        with_matrices(c, [&](const auto& l) {
            using layer = std::decay_t<decltype(l)>;
            const auto d = decompose(c, l.w_in.view(), l.calib, nsvd::rank{c.k});
            const auto p = nsvd::pivot(d);
            RC_ASSERT(p.parameters() == c.k * (c.m + c.n - c.k));
            RC_ASSERT(p.rows() == c.m);
            RC_ASSERT(p.cols() == c.n);
            RC_ASSERT(static_cast<Index>(p.indices.size()) == c.k);
            within("growth", p.growth(), 2.0 * (1 + 1e-6));
            const MatrixXd expected =
                times_power(d.left.template cast<double>() * d.right.template cast<double>(), -c.w_scale);
            const MatrixXd found = times_power(p.dense().template cast<double>(), -c.w_scale);
            const problem with = problem_of(c, l.exact);
            within("product", (found - expected).norm(),
                   10 * layer::eps * std::sqrt(static_cast<double>(c.k)) * with.target.norm() +
                       4 * roundings_of(c, l, with).plain);
        });
    });
}

TEST_CASE("policies of the spectrum take the least rank that will do", "[generated]") {
    for_all("energy and tolerance", 600, [](layer_case c) {
        if (c.method == method::columns || c.method == method::nested || c.method == method::anchored)
            c.method = method::cholesky;
        with_matrices(c, [&](const auto& l) {
            const problem p = problem_of(c, l.exact);
            const double noise = roundings_of(c, l, p).weighted;
            const MatrixXd behind = p.target * p.inputs;
            const double whole = behind.norm();
            const double error = c.share / 1001.0;
            const auto check = [&](const auto& policy, double most) {
                try {
                    const auto d = decompose(c, l.w_in.view(), l.calib, policy);
                    within("what is left", optimum(behind, d.rank()), most * whole * (1 + 1e-6) + noise);
                    within("one rank less would do", most * whole,
                           optimum(behind, d.rank() - 1) * (1 + 1e-6) + noise);
                    check_stages(c, l, d);
                } catch (const nsvd::error&) {
                    within("nothing is worth keeping", whole, most * whole + noise);
                }
            };
            check(nsvd::tolerance{error}, error);
            check(nsvd::energy{1.0 - error * error}, error);
        });
    });
}
