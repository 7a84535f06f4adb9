// SPDX-License-Identifier: MIT
/// Properties by RapidCheck in tests by Catch2.
#pragma once

#include "support/catch.hpp"

#include <rapidcheck.h>
#include <string>
#include <utility>

namespace generated {

/// Of a run of `cases` cases with the seed 1, or what RC_PARAMS says: "seed=7 max_success=100000".
[[nodiscard]] rc::detail::TestResult run(const rc::detail::Property& property, const std::string& name,
                                         int cases);

/// What came of it; for a failure the smallest case found, as an initializer, and how to run it again.
[[nodiscard]] std::string report(const rc::detail::TestResult& result, const std::string& name, int cases);

/// Fails the running test with the report unless `testable` holds for that many cases; prints how many and
/// the seed.
void check(const std::string& name, int cases, const rc::detail::Property& property);

template <class Testable>
void for_all(const std::string& name, int cases, Testable&& testable) {
    check(name, cases, rc::detail::toProperty(std::forward<Testable>(testable)));
}

/// Fails the case unless value ≤ limit; NaN fails.
void within(const char* what, double value, double limit);

}  // namespace generated
