// SPDX-License-Identifier: MIT
// Ranks are integer arithmetic: against 128-bit integers, at the shapes of real layers and beyond.
#include "property.hpp"
#include "support/generate.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cstdint>
#include <ostream>
#include <vector>

namespace generated {

/// A ratio of billionths and a shape.
struct policy_case {
    std::int64_t billionths = 0;
    nsvd::index m = 1, n = 1;
};

std::ostream& operator<<(std::ostream& out, const policy_case& c) {
    return out << "{.billionths = " << c.billionths << ", .m = " << c.m << ", .n = " << c.n << '}';
}

}  // namespace generated

template <>
struct rc::Arbitrary<generated::policy_case> {
    static Gen<generated::policy_case> arbitrary() {
        return [](const Random& random, int) {
            support::generator g(Random(random).next());
            generated::policy_case c;
            // Round ratios are where a product in floating point falls just short.
            const std::int64_t steps[] = {1, 1000, 1000000, 10000000, 50000000};
            const std::int64_t step = steps[g.integer(0, 4)];
            c.billionths = step * g.integer(0, 999999999 / step);
            const auto side = [&] {
                return g.integer(0, 1) == 0 ? g.integer(1, 40)
                                            : g.integer(1, nsvd::index{1} << g.integer(1, 28));
            };
            c.m = side();
            c.n = side();
            return shrinkable::shrinkRecur(c, [](const generated::policy_case& from) {
                std::vector<generated::policy_case> cases;
                const auto with = [&](auto generated::policy_case::*member, std::int64_t least) {
                    for (const std::int64_t value : {least, from.*member / 2, from.*member - 1})
                        if (value >= least && value < from.*member) {
                            cases.push_back(from);
                            cases.back().*member = value;
                        }
                };
                with(&generated::policy_case::m, 1);
                with(&generated::policy_case::n, 1);
                with(&generated::policy_case::billionths, 0);
                return seq::fromContainer(cases);
            });
        };
    }
};

namespace {

using namespace generated;
__extension__ using wide = unsigned __int128;

}  // namespace

TEST_CASE("compression never loses a rank to rounding", "[generated]") {
    for_all("compression", 20000, [](const policy_case& c) {
        constexpr wide billion = 1000000000;
        const double ratio = static_cast<double>(c.billionths) / 1e9;
        const auto m = static_cast<wide>(c.m), n = static_cast<wide>(c.n);
        // Numbers times a billion: what is kept, and what a rank takes.
        const wide kept = (billion - static_cast<wide>(c.billionths)) * m * n;
        for (const auto how : {nsvd::storage::plain, nsvd::storage::pivoted}) {
            const auto fits = [&](nsvd::index k) {
                const auto r = static_cast<wide>(k);
                return k <= std::min(c.m, c.n) &&
                       r * (m + n - (how == nsvd::storage::pivoted ? r : 0)) * billion <= kept;
            };
            try {
                const nsvd::index k = nsvd::compression{ratio, how}({c.m, c.n});
                RC_ASSERT(k >= 1);
                RC_ASSERT(fits(k));
                RC_ASSERT(!fits(k + 1));
                RC_ASSERT(nsvd::stored_numbers(how, {c.m, c.n}, k) <=
                          static_cast<std::int64_t>(kept / billion));
            } catch (const nsvd::error&) {
                RC_ASSERT(!fits(1));
            }
        }
    });
}

TEST_CASE("stages share a rank in integers", "[generated]") {
    for_all("shares", 20000, [](const policy_case& c) {
        const double share = static_cast<double>(c.billionths) / 1e9;
        const nsvd::index k = c.m;
        const wide half = 500000000;
        const auto exact = static_cast<nsvd::index>(
            (static_cast<wide>(c.billionths) * static_cast<wide>(k) + half) / (2 * half));
        const nsvd::index first = nsvd::detail::stage_rank(share, true, false, k, 0);
        RC_ASSERT(first == std::clamp<nsvd::index>(exact, 1, k));
        const nsvd::index second = nsvd::detail::stage_rank(share, false, false, k, first);
        RC_ASSERT(second == std::min(exact, k - first));
        RC_ASSERT(nsvd::detail::stage_rank(share, false, true, k, first + second) == k - first - second);
    });
}

TEST_CASE("a spectrum policy picks the first rank whose rest is small enough", "[generated]") {
    for_all("spectra", 5000, [](const policy_case& c) {
        support::generator g(static_cast<std::uint64_t>(c.billionths));
        // Integers, whose sums are exact in any order.
        std::vector<double> values(static_cast<std::size_t>(1 + c.m % 60));
        for (double& v : values)
            v = static_cast<double>(g.integer(0, 1000));
        std::sort(values.rbegin(), values.rend());
        const nsvd::spectrum all{.leading = values};
        const nsvd::shape shape{static_cast<nsvd::index>(values.size()), 100};
        const double fraction = 1.0 - static_cast<double>(c.n % 64) / 64.0;  // exact in binary
        nsvd::index expected = 0;
        while (all.rest_after(static_cast<std::size_t>(expected)) > (1.0 - fraction) * all.total())
            ++expected;
        RC_ASSERT(nsvd::energy{fraction}(all, shape) == expected);
        // Of which only some are shown, and the sum of the others.
        const auto shown = static_cast<std::size_t>(g.integer(0, static_cast<Eigen::Index>(values.size())));
        const nsvd::spectrum part{.leading = std::span(values).first(shown),
                                  .rest = all.rest_after(shown),
                                  .complete = shown == values.size()};
        const auto found = nsvd::energy{fraction}(part, shape);
        if (found)
            RC_ASSERT(*found == expected);
        else
            RC_ASSERT(expected > static_cast<nsvd::index>(shown));
    });
}
