// SPDX-License-Identifier: MIT
/// Is `d * X` faster than the dense product it replaces?
#include "support/row.hpp"

#include <nsvd/low_rank.hpp>
#include <nsvd/rank/compression.hpp>

#include <string>

namespace {

using bench::dense;
using bench::Index;

/// Factors of random numbers: the time of a product does not depend on them.
template <class Scalar>
void add(Index rows, Index cols, Index tokens) {
    const std::string name = std::string("apply/") + bench::scalar_name<Scalar>() + "/" +
                             std::to_string(rows) + "x" + std::to_string(cols) +
                             "/columns:" + std::to_string(tokens);
    bench::add_short_row(name, 3, [=](bench::row& r) {
        const Index k = nsvd::compression{0.3}({rows, cols});
        const dense<Scalar> w = dense<Scalar>::Random(rows, cols);
        const nsvd::low_rank<Scalar> d{dense<Scalar>::Random(rows, k), dense<Scalar>::Random(k, cols)};
        const dense<Scalar> x = dense<Scalar>::Random(cols, tokens);
        const bench::column<Scalar> vector = x.col(0);

        const auto by_product = [&] {
            dense<Scalar> y(rows, tokens);
            bench::multiply_into<Scalar>(y, w, false, x, false);
            benchmark::DoNotOptimize(y.data());
        };
        const auto by_vector = [&] {
            bench::column<Scalar> y(rows);
            bench::by_scalar<Scalar>(cblas_sgemv, cblas_dgemv)(
                CblasColMajor, CblasNoTrans, bench::size(rows), bench::size(cols), Scalar(1), w.data(),
                bench::size(rows), vector.data(), 1, Scalar(0), y.data(), 1);
            benchmark::DoNotOptimize(y.data());
        };
        const auto factored = [&] {
            if (tokens == 1) {
                const auto y = d * vector;
                benchmark::DoNotOptimize(y.data());
            } else {
                const auto y = d * x;
                benchmark::DoNotOptimize(y.data());
            }
        };
        const double dense_seconds =
            tokens == 1 ? r.time_in_turns(factored, by_vector)[0] : r.time_in_turns(factored, by_product)[0];

        r.describe<Scalar>(rows, cols, k);
        r.column("tokens", static_cast<double>(tokens));
        r.column("gflops", 2e-9 * static_cast<double>(k * (rows + cols) * tokens) / r.seconds());
        r.column("dense_gflops", 2e-9 * static_cast<double>(rows * cols * tokens) / dense_seconds);
        r.column("dense_seconds", dense_seconds);
        r.column("times_dense", r.seconds() / dense_seconds);
    });
}

}  // namespace

void bench::register_benchmarks(const options& o) {
    const auto add_shape = [](Index rows, Index cols) {
        for (const Index tokens : {1, 8, 64, 512}) {
            add<float>(rows, cols, tokens);
            add<double>(rows, cols, tokens);
        }
    };
    add_shape(1024, 1024);
    add_shape(2048, 2048);
    if (!o.full) return;
    add_shape(4096, 4096);
    add_shape(4096, 11008);
}
