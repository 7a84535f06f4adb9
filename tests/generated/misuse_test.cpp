// SPDX-License-Identifier: MIT
// Wrong arguments: nsvd::error and nothing else, in one line, with nothing changed.
#include "layer.hpp"
#include "property.hpp"

#include <nsvd/nsvd.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace generated;

/// Fails the case unless `call` throws nsvd::error in one line.
template <class Call>
void refuses(const char* what, Call&& call) {
    try {
        static_cast<void>(call());
    } catch (const nsvd::error& e) {
        const std::string message = e.what();
        if (message.empty() || message.find('\n') != std::string::npos)
            RC_FAIL(std::string(what) + ": the message is no line: " + message);
        return;
    }
    RC_FAIL(std::string(what) + ": nothing was thrown");
}

double no_number(support::generator& g) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double all[] = {std::numeric_limits<double>::quiet_NaN(), infinity, -infinity};
    return all[g.integer(0, 2)];
}

}  // namespace

TEST_CASE("what is not finite is refused, wherever it is", "[generated]") {
    for_all("not finite", 1000, [](const layer_case& c) {
        support::generator g(c.seed + 4);
        const double bad = no_number(g);
        const auto spoil = [&](MatrixXd& a) {
            a(g.integer(0, a.rows() - 1), g.integer(0, a.cols() - 1)) = bad;
        };
        with_matrices(c, [&](auto&& l) {
            using Scalar = typename std::decay_t<decltype(*l.w_in.view().data)>;
            MatrixXd w = l.w_in.values();
            spoil(w);
            const placed<std::remove_const_t<Scalar>> bad_w(w, c.layout);
            refuses("W", [&] { return decompose(c, bad_w.view(), l.calib, nsvd::rank{c.k}); });
            refuses("W of every_rank", [&] { return nsvd::every_rank(bad_w.view()); });
            refuses("W of interpolative", [&] { return nsvd::interpolative(bad_w.view(), nsvd::rank{c.k}); });

            MatrixXd x = l.x_in.values();
            spoil(x);
            const placed<std::remove_const_t<Scalar>> bad_x(x, c.layout);
            const MatrixXd before = l.calib.gram();
            const auto tokens = l.calib.tokens();
            refuses("x", [&] { l.calib.update(bad_x.view()); });
            refuses("b", [&] { l.calib.update(l.x_in.view(), bad_x.view()); });
            refuses("weights", [&] {
                std::vector<double> weights(static_cast<std::size_t>(c.tokens), 1.0);
                weights[static_cast<std::size_t>(g.integer(0, c.tokens - 1))] =
                    g.integer(0, 1) == 0 ? bad : -1e-9;
                l.calib.update(l.x_in.view(), weights);
            });
            RC_ASSERT(l.calib.gram() == before);
            RC_ASSERT(l.calib.tokens() == tokens);
        });
    });
}

TEST_CASE("what is out of range is refused", "[generated]") {
    for_all("out of range", 1000, [](const layer_case& c) {
        support::generator g(c.seed + 5);
        with_matrices(c, [&](const auto& l) {
            const auto& w = l.w_in.view();
            const auto with = [&](const auto& policy) { return decompose(c, w, l.calib, policy); };
            const double beyond = g.integer(0, 1) == 0   ? no_number(g)
                                  : g.integer(0, 1) == 0 ? -1e-6
                                                         : 1.0 + 1e-6;
            const Index off = g.integer(1, 1000000);
            refuses("rank 0", [&] { return with(nsvd::rank{0}); });
            refuses("rank",
                    [&] { return with(nsvd::rank{g.integer(0, 1) == 0 ? -off : c.full_rank() + off}); });
            refuses("compression", [&] { return with(nsvd::compression{beyond}); });
            refuses("energy", [&] { return with(nsvd::energy{beyond}); });
            refuses("tolerance", [&] { return with(nsvd::tolerance{beyond}); });
            refuses("own policy",
                    [&] { return with([&](const nsvd::shape&) { return beyond > 1 ? 1e30 : beyond; }); });
            refuses("share", [&] { return nsvd::nested(w, l.calib, nsvd::rank{c.k}, {.share = beyond}); });
            const double negative = std::isfinite(beyond) ? -std::abs(beyond) : beyond;
            refuses("blend", [&] { return nsvd::asvd(w, l.calib, nsvd::rank{c.k}, {.blend = negative}); });
            refuses("alpha", [&] { return nsvd::asvd(w, l.calib, nsvd::rank{c.k}, {.alpha = negative}); });
            refuses("growth",
                    [&] { return nsvd::pivot(nsvd::svd(w, nsvd::rank{c.k}), std::min(negative, 1.0)); });

            using statistics = std::decay_t<decltype(l.calib)>;
            const statistics other(c.n + off % 7 + 1), none(c.n);
            refuses("features", [&] { return nsvd::asvd(w, other, nsvd::rank{c.k}); });
            refuses("no tokens", [&] { return nsvd::nested(w, none, nsvd::rank{c.k}); });
            refuses("no pairs", [&] {
                statistics calib(c.n);
                calib.update(l.x_in.view());
                return nsvd::anchored(w, calib, nsvd::rank{c.k});
            });
            refuses("merge", [&] {
                statistics calib = l.calib;
                calib.merge(other);
            });
            const MatrixXd empty(g.integer(0, 1) == 0 ? 0 : c.m, 0);
            refuses("no entries", [&] { return nsvd::svd(empty, nsvd::rank{1}); });
            const auto d = nsvd::svd(w, nsvd::rank{c.k});
            refuses("truncate", [&] { return d.truncate(c.k + off); });
            refuses("truncate to 0", [&] { return d.truncate(0); });
            refuses("product", [&] { return d * MatrixXd(MatrixXd::Zero(c.n + off % 5 + 1, 2)); });
        });
    });
}
