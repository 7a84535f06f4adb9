// SPDX-License-Identifier: MIT
// The generated tests themselves: a property that does not hold is reported, with the smallest case there is.
#include "layer_case.hpp"
#include "property.hpp"

#include <set>
#include <sstream>
#include <string>

namespace {

using namespace generated;

rc::detail::Property never_beyond_six_columns() {
    return rc::detail::toProperty(
        [](const layer_case& c) { within("n", static_cast<double>(c.n), c.zero_rows > 0 ? 6.0 : 1e9); });
}

}  // namespace

TEST_CASE("a false property ends with the smallest case", "[generated]") {
    const auto result = run(never_beyond_six_columns(), "false", 2000);
    REQUIRE(result.is<rc::detail::FailureResult>());
    const auto& failure = result.get<rc::detail::FailureResult>();
    REQUIRE(failure.counterExample.size() == 1);
    CHECK(failure.counterExample[0].second == "({.n = 7, .zero_rows = 1})");

    const std::string text = report(result, "false", 2000);
    CHECK_THAT(text, Catch::ContainsSubstring("{.n = 7, .zero_rows = 1}"));
    CHECK_THAT(text, Catch::ContainsSubstring("n: 7 exceeds 6"));
    CHECK_THAT(text, Catch::ContainsSubstring("RC_PARAMS=\"seed="));
}

TEST_CASE("whatever is thrown fails a property", "[generated]") {
    const auto result = run(rc::detail::toProperty([](const layer_case& c) {
                                if (c.m > 2) throw std::out_of_range("m is large");
                            }),
                            "throws", 100);
    REQUIRE(result.is<rc::detail::FailureResult>());
    CHECK(result.get<rc::detail::FailureResult>().counterExample[0].second == "({.m = 3})");
}

TEST_CASE("the seed says which cases there are", "[generated]") {
    const auto drawn = [](std::uint64_t seed) {
        support::generator g(seed);
        std::ostringstream text;
        for (int size = 0; size <= 100; ++size)
            text << draw(g, size) << '\n';
        return text.str();
    };
    CHECK(drawn(1) == drawn(1));
    CHECK(drawn(1) != drawn(2));
}

TEST_CASE("shrinking ends, and all of the space is drawn from", "[generated]") {
    support::generator g(3);
    std::set<method> methods;
    std::set<scalar> scalars;
    std::set<shape_of_spectrum> spectra;
    Index widest = 0;
    for (int i = 0; i < 1000; ++i) {
        layer_case c = draw(g, i % 101);
        methods.insert(c.method);
        scalars.insert(c.scalar);
        spectra.insert(c.spectrum);
        widest = std::max(widest, c.n);
        REQUIRE(c.k >= 1);
        REQUIRE(c.k <= c.full_rank());
        // Always the last that is simpler: the smallest steps.
        int steps = 0;
        for (auto next = simpler(c); !next.empty(); next = simpler(c)) {
            c = next.back();
            REQUIRE(c.k <= c.full_rank());
            REQUIRE(++steps < 10000);
        }
    }
    CHECK(methods.size() == 10);
    CHECK(scalars.size() == 4);
    CHECK(spectra.size() == support::all_spectra.size());
    CHECK(widest > 100);
}
