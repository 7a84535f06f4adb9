// SPDX-License-Identifier: MIT
#include "plan.hpp"

#include "assignment.hpp"
#include "cost.hpp"
#include "methods.hpp"
#include "stopwatch.hpp"
#include "threads.hpp"

#include <nsvd/calibration.hpp>
#include <nsvd/workspace.hpp>

#include <Eigen/Core>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <utility>

namespace llm {
namespace {

Eigen::MatrixXf random_matrix(Eigen::Index rows, Eigen::Index cols, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    return Eigen::MatrixXf::NullaryExpr(rows, cols, [&] { return normal(random); });
}

/// Calls `work` for every kind of linear layer with its shape, and how many of it there are in the model.
template <class Work>
void for_layers(const config& shape, const Work& work) {
    for (const auto& where : shape.sites_in_block())
        for (std::size_t part = 0; part < shape.linears[index_of(where.kind)].names.size(); ++part) {
            const auto [rows, cols] = shape.layer_shape(where.kind, part);
            work(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
        }
}

/// "3.4 h", "12 min", "8.1 s".
std::string time_text(double seconds) {
    if (seconds < 100) return fmt::format("{:.1f} s", seconds);
    if (seconds < 6000) return fmt::format("{:.0f} min", seconds / 60);
    if (seconds < 360000) return fmt::format("{:.1f} h", seconds / 3600);
    return fmt::format("{:.1f} d", seconds / 86400);
}

}  // namespace

double machine_speed::spread() const {
    double most = 1;
    for (const auto& layer : layers) {
        const double ratio = layer.seconds * decomposition / layer.flops;
        most = std::max({most, ratio, 1 / ratio});
    }
    return most;
}

machine_speed measure_speed(const recipe& r, const std::vector<std::int64_t>& sizes, unsigned threads,
                            progress& bar) {
    const blas_threads all(threads);
    machine_speed speed;
    nsvd::workspace memory;
    double logarithms = 0;
    const auto largest = *std::max_element(sizes.begin(), sizes.end());
    for (const auto size : sizes)
        for (const auto& [rows, cols] :
             {std::pair(size, size), std::pair(size, size / 2), std::pair(size / 2, size)}) {
            const auto w = random_matrix(rows, cols, 1);
            const auto x = random_matrix(cols, cols, 2);
            nsvd::calibration<float> inputs(cols);
            const stopwatch of_update;
            inputs.update(x);
            const double seconds_of_update = of_update.seconds();
            const auto n = static_cast<double>(cols);
            if (rows == largest && cols == largest) {
                speed.update = n * n * n / seconds_of_update;
                const stopwatch of_product;
                Eigen::MatrixXf y(rows, cols);
                nsvd::detail::multiply_into<float>(y, w, nsvd::detail::op::none, x, nsvd::detail::op::none);
                speed.product = 2 * static_cast<double>(rows) * n * n / of_product.seconds();
            }
            const auto k = rank_by_itself(r, {rows, cols});
            const stopwatch watch;
            const auto d = decompose(*r.how, w, inputs, k, {.share = r.share}, memory);
            auto& layer = speed.layers.emplace_back();
            layer = {rows, cols, d.rank(), predicted_flops(r, {rows, cols}, k), watch.seconds()};
            logarithms += std::log(layer.flops / layer.seconds);
            bar.step();
        }
    speed.decomposition = std::exp(logarithms / static_cast<double>(speed.layers.size()));
    return speed;
}

double linear_parameters(const config& shape) {
    double numbers = 0;
    for_layers(shape, [&](Eigen::Index rows, Eigen::Index cols) {
        numbers += static_cast<double>(rows) * static_cast<double>(cols);
    });
    return numbers * static_cast<double>(shape.blocks);
}

plan_row plan(const config& shape, const recipe& r, const machine_speed& speed, const plan_assumptions& given,
              std::int64_t machines) {
    constexpr double giga = 1e9;
    const auto count = static_cast<double>(machines);
    const auto blocks = static_cast<double>(shape.blocks);
    const double tokens = static_cast<double>(given.windows) * static_cast<double>(given.context);
    const auto experts = static_cast<double>(std::max<std::size_t>(shape.experts, 1));
    const double share_of_experts =
        shape.experts > 0 ? static_cast<double>(shape.experts_per_token) / experts : 1.0;

    plan_row row{.machines = machines};
    double passed = 0, updates = 0, packed = 0;  // flops a token, flops a token, numbers; of a block
    std::vector<double> costs;
    for (const auto& where : shape.sites_in_block()) {
        const double seen = is_of_experts(where.kind) ? share_of_experts : 1.0;  // of the tokens
        const auto n = static_cast<double>(shape.features(where.kind));
        updates += seen * n * n;
        packed += n * (n + 1) / 2;
        for (std::size_t part = 0; part < shape.linears[index_of(where.kind)].names.size(); ++part) {
            const auto [rows, cols] = shape.layer_shape(where.kind, part);
            passed += 2 * seen * static_cast<double>(rows) * static_cast<double>(cols);
            const nsvd::shape layer{static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols)};
            const double flops = predicted_flops(r, layer, rank_by_itself(r, layer));
            costs.insert(costs.end(), shape.blocks, flops);
        }
    }
    // Attention: each token against half of the window, scores and values.
    passed += 4 * static_cast<double>(given.context) / 2 * static_cast<double>(shape.heads * shape.head_dim);

    const double bytes = linear_parameters(shape) * given.bytes_per_weight;
    row.reading = bytes / (given.disk * giga);
    row.text = tokens * passed * blocks / (count * speed.product * given.machine);
    row.statistics = tokens * updates * blocks / (count * speed.update * given.machine);
    // Neighbours first, log2 rounds; then to the owners of layers that share an input, two at most beside the
    // first.
    const auto rounds = static_cast<double>(std::bit_width(static_cast<std::uint64_t>(machines - 1)));
    row.adding_up =
        machines == 1 ? 0 : packed * blocks * sizeof(double) * (rounds + 1) / (given.network * giga);
    const auto owners = assign(costs, static_cast<std::size_t>(machines));
    row.imbalance = imbalance(costs, owners, static_cast<std::size_t>(machines));
    double total = 0;
    for (const double cost : costs)
        total += cost;
    row.decomposing = row.imbalance * total / (count * speed.decomposition * given.machine);
    row.writing = (1 - r.compression) * bytes / (count * given.disk * giga);
    row.statistics_bytes = static_cast<std::int64_t>(2 * packed * blocks * sizeof(double) / count);
    return row;
}

nlohmann::ordered_json to_json(const plan_row& row) {
    return {{"machines", row.machines},   {"reading", row.reading},
            {"text", row.text},           {"statistics", row.statistics},
            {"adding_up", row.adding_up}, {"decomposing", row.decomposing},
            {"writing", row.writing},     {"seconds", row.total()},
            {"imbalance", row.imbalance}, {"statistics_bytes", row.statistics_bytes}};
}

std::string print_table(const std::vector<plan_row>& rows) {
    auto text =
        fmt::format("{:>8} {:>10} {:>10} {:>10} {:>10} {:>11} {:>10} {:>10} {:>10}\n", "machines", "reading",
                    "text", "statistics", "adding up", "decomposing", "writing", "all", "imbalance");
    for (const auto& row : rows)
        text += fmt::format("{:>8} {:>10} {:>10} {:>10} {:>10} {:>11} {:>10} {:>10} {:>10.2f}\n",
                            row.machines, time_text(row.reading), time_text(row.text),
                            time_text(row.statistics), time_text(row.adding_up), time_text(row.decomposing),
                            time_text(row.writing), time_text(row.total()), row.imbalance);
    return text;
}

}  // namespace llm
