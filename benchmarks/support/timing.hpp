// SPDX-License-Identifier: MIT
/// Times of this process by name, so that ratios only ever compare what one process has measured.
#pragma once

#include "lapack.hpp"

#include <string>
#include <vector>

namespace bench {

/// Seconds of wall time since it was made.
class stopwatch {
public:
    stopwatch();
    [[nodiscard]] double seconds() const;

private:
    double start_;
};

[[nodiscard]] double median(std::vector<double> values);

/// Everything measured under `key` so far.
[[nodiscard]] std::vector<double>& recorded(const std::string& key);

/// Median of what was recorded under `key`; 0 if nothing was.
[[nodiscard]] double recorded_median(const std::string& key);

/// The same; if nothing was recorded yet (its own row was filtered away), after running what `prepare()`
/// gives that many times.
template <class Prepare>
[[nodiscard]] double median_of(const std::string& key, int repetitions, Prepare&& prepare) {
    if (recorded(key).empty()) {
        auto run = prepare();
        for (int i = 0; i < repetitions; ++i) {
            const stopwatch watch;
            run();
            recorded(key).push_back(watch.seconds());
        }
    }
    return recorded_median(key);
}

template <class Scalar>
[[nodiscard]] constexpr const char* scalar_name() {
    return by_scalar<Scalar>("float", "double");
}

/// Seconds of one n×n by n×n product in `Scalar`: the unit in which times are given.
template <class Scalar>
[[nodiscard]] double product_seconds(Index n) {
    const int repetitions = n <= 1024 ? 50 : n <= 2048 ? 10 : 3;
    return median_of(std::string("product/") + scalar_name<Scalar>() + "/" + std::to_string(n), repetitions,
                     [n] {
                         return [a = dense<Scalar>(dense<Scalar>::Random(n, n)),
                                 c = dense<Scalar>(dense<Scalar>::Zero(n, n))]() mutable {
                             multiply_into<Scalar>(c, a, false, a, false);
                         };
                     });
}

}  // namespace bench
