// SPDX-License-Identifier: MIT
/// One row of a table: a benchmark that records its time under its name, and the columns that rows share.
#pragma once

#include "optimum.hpp"
#include "timing.hpp"

#include <array>
#include <benchmark/benchmark.h>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>

namespace bench {

/// What a program was asked for.
struct options {
    bool full = false;       ///< the shapes of language models, not the quick set
    std::string data{};      ///< folder of real matrices, or empty
    std::string matrices{};  ///< folder to write operands to for the Python side, or empty
};

/// Registers the rows of a program, in the order in which they run; main.cpp is the same for all.
void register_benchmarks(const options& o);

/// The BLAS in use, as it describes itself.
[[nodiscard]] std::string blas_name();
[[nodiscard]] int blas_threads();

/// A row while it runs.
class row {
public:
    row(std::string name, benchmark::State& state) : name_(std::move(name)), state_(state) {}

    /// Takes the time of one call of `f`, and gives what it returns. Once a row.
    template <class F>
    auto time(F&& f) {
        std::optional<std::invoke_result_t<F>> result;
        for (auto _ : state_) {
            const stopwatch watch;
            result.emplace(f());
            seconds_ = watch.seconds();
            state_.SetIterationTime(seconds_);
        }
        recorded(name_).push_back(seconds_);
        return std::move(*result);
    }

    /// Takes the time of `ours` and of what it is compared with, in turns, so that both meet the same machine
    /// and the same caches. The row's time is that of `ours`; returns the mean seconds of the others.
    template <class Ours, class... Others>
    std::array<double, sizeof...(Others)> time_in_turns(Ours&& ours, Others&&... others) {
        std::array<double, sizeof...(Others)> sums{};
        double ours_sum = 0.0;
        double calls = 0.0;
        for (auto _ : state_) {
            std::size_t i = 0;
            (
                [&] {
                    const stopwatch watch;
                    others();
                    sums[i++] += watch.seconds();
                }(),
                ...);
            const stopwatch watch;
            ours();
            const double taken = watch.seconds();
            state_.SetIterationTime(taken);
            ours_sum += taken;
            calls += 1.0;
        }
        seconds_ = ours_sum / calls;
        for (double& sum : sums)
            sum /= calls;
        return sums;
    }

    /// For a row whose time was taken elsewhere.
    void set_seconds(double seconds) {
        seconds_ = seconds;
        for (auto _ : state_)
            state_.SetIterationTime(seconds);
    }

    [[nodiscard]] double seconds() const { return seconds_; }

    void column(const std::string& name, double value) { state_.counters[name] = value; }
    /// A column of text: gathered in the label as `name=text|name=text`.
    void text(const std::string& name, const std::string& value) { label_ += "|" + name + "=" + value; }

    /// Shape, scalar, rank (0: none), threads and BLAS.
    template <class Scalar>
    void describe(Index rows, Index cols, Index k) {
        column("rows", static_cast<double>(rows));
        column("cols", static_cast<double>(cols));
        if (k > 0) column("k", static_cast<double>(k));
        column("blas_threads", blas_threads());
        text("scalar", scalar_name<Scalar>());
        text("blas", blas_name());
    }

    /// GFLOP/s by a nominal count, and the time in products of n×n matrices.
    template <class Scalar>
    void rate(double flops, Index n) {
        column("gflops", flops / seconds_ * 1e-9);
        column("products", seconds_ / product_seconds<Scalar>(n));
    }

    /// Errors and what they are over the optimum.
    void accuracy(const errors& got, const errors& best) {
        column("weighted_error", got.weighted);
        column("plain_error", got.plain);
        column("weighted_over_optimum", got.weighted / best.weighted);
        column("plain_over_optimum", got.plain / best.plain);
    }

    void fail(const std::string& what) { state_.SkipWithError(what.c_str()); }
    void finish() { state_.SetLabel(label_.empty() ? label_ : label_.substr(1)); }

private:
    std::string name_;
    benchmark::State& state_;
    double seconds_ = 0.0;
    std::string label_;
};

/// Registers a row of one call a repetition; the table has the median of the repetitions. An exception
/// becomes the row's error and does not stop the others.
void add_row(const std::string& name, int repetitions, std::function<void(row&)> body);

/// The same for calls so short that a repetition is as many as fill a tenth of a second.
void add_short_row(const std::string& name, int repetitions, std::function<void(row&)> body);

}  // namespace bench
