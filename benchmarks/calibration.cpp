// SPDX-License-Identifier: MIT
/// How much of the speed of `dsyrk`, and of `ssyrk`, does `calibration::update` sustain?
#include "support/random.hpp"
#include "support/row.hpp"

#include <nsvd/calibration.hpp>

#include <string>

namespace {

using bench::dense;
using bench::Index;

constexpr Index tokens = 2048;

void add(Index features) {
    const std::string name = "calibration/update/float/" + std::to_string(features);
    bench::add_short_row(name, 5, [=](bench::row& r) {
        bench::generator random(7);
        const dense<float> x = dense<float>::NullaryExpr(features, tokens, [&] { return random.normal(); });
        const dense<double> wide = x.cast<double>();
        dense<double> c = dense<double>::Zero(features, features);
        dense<float> narrow = dense<float>::Zero(features, features);
        nsvd::calibration<float> calib(features);
        const auto [dsyrk, ssyrk] =
            r.time_in_turns([&] { calib.update(x); }, [&] { bench::syrk_into<double>(c, wide, false, 1.0); },
                            [&] { bench::syrk_into<float>(narrow, x, false, 1.0F); });
        r.describe<float>(features, tokens, 0);
        const auto n = static_cast<double>(features);
        r.column("gflops", n * n * static_cast<double>(tokens) / r.seconds() * 1e-9);
        r.column("fraction_of_dsyrk", dsyrk / r.seconds());
        r.column("fraction_of_ssyrk", ssyrk / r.seconds());
    });
}

}  // namespace

void bench::register_benchmarks(const options& o) {
    add(1024);
    add(o.full ? 4096 : 2048);
}
