// SPDX-License-Identifier: MIT
/// How long compressing a model will take, on how many machines: a cost model, fitted to layers that are
/// decomposed for it.
#pragma once

#include "config.hpp"
#include "progress.hpp"
#include "recipe.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace llm {

/// What a machine does in a second.
struct machine_speed {
    double decomposition = 0;  ///< flops as nsvd::predicted_flops counts them
    double product = 0;        ///< flops of products of single precision: text on its way through the model
    double update = 0;         ///< flops of nsvd::calibration::update, n² a token
    struct measured_layer {
        std::int64_t rows = 0, cols = 0, rank = 0;
        double flops = 0, seconds = 0;
    };
    std::vector<measured_layer> layers{};  ///< that `decomposition` was fitted to

    /// The largest factor between a layer's time and what the fit says.
    [[nodiscard]] double spread() const;
};

/// Decomposes layers of random numbers (flat spectra: the slowest) by the recipe, and fits the speed, the
/// geometric mean. One progress step a layer.
[[nodiscard]] machine_speed measure_speed(const recipe& r, const std::vector<std::int64_t>& sizes,
                                          unsigned threads, progress& bar);

/// What is assumed and not measured.
struct plan_assumptions {
    double machine = 1;     ///< how many times as fast as the one measured each machine is
    double network = 1.25;  ///< GB/s between two machines, each way: 10 Gbit/s
    double disk = 1;        ///< GB/s that each machine reads or writes
    std::int64_t windows = 256, context = 2048;
    double bytes_per_weight = 2;
};

/// Seconds on so many machines, a process on each.
struct plan_row {
    std::int64_t machines = 1;
    double reading = 0;      ///< the weights, on every machine
    double text = 0;         ///< through the blocks
    double statistics = 0;   ///< updates
    double adding_up = 0;    ///< statistics of the machines
    double decomposing = 0;  ///< by the machine that has most to do
    double writing = 0;
    double imbalance = 1;               ///< of decomposing, over the mean
    std::int64_t statistics_bytes = 0;  ///< kept by one machine, without --low-memory

    [[nodiscard]] double total() const {
        return reading + text + statistics + adding_up + decomposing + writing;
    }
};

/// For methods that take one pass of text, every layer by itself.
[[nodiscard]] plan_row plan(const config& shape, const recipe& r, const machine_speed& speed,
                            const plan_assumptions& given, std::int64_t machines);

/// Numbers of all linear layers of the blocks.
[[nodiscard]] double linear_parameters(const config& shape);

[[nodiscard]] nlohmann::ordered_json to_json(const plan_row& row);
[[nodiscard]] std::string print_table(const std::vector<plan_row>& rows);

}  // namespace llm
