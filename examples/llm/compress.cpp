// SPDX-License-Identifier: MIT
#include "compress.hpp"

#include "threads.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace llm {
namespace {

/// The matrix as it will be read back from a file.
Eigen::MatrixXf rounded(const Eigen::MatrixXf& matrix, nsvd::safetensors::dtype type,
                        const std::string& layer) {
    const Eigen::MatrixXf result = nsvd::safetensors::visit_scalar(type, [&](auto stored) -> Eigen::MatrixXf {
        return matrix.cast<decltype(stored)>().template cast<float>();
    });
    if (!result.allFinite())
        throw nsvd::error(
            fmt::format("layer {}: factors exceed the range of {}", layer, nsvd::safetensors::name_of(type)));
    return result;
}

}  // namespace

void require_dense(const model& m) {
    for (std::size_t i = 0; i < m.layers(); ++i)
        if (!m.layer(i).dense())
            throw nsvd::error(fmt::format("{}: layer {} is compressed already: give the dense model",
                                          m.folder().string(), m.layer_name(i)));
}

std::vector<Eigen::MatrixXf> take_weights(model& m) {
    std::vector<Eigen::MatrixXf> weights;
    for (std::size_t i = 0; i < m.layers(); ++i)
        weights.push_back(std::move(m.layer(i)).release_product());
    return weights;
}

std::vector<layer_record> compress_layers(model& m, const std::vector<Eigen::MatrixXf>& dense,
                                          const std::vector<nsvd::calibration<float>>& sites, const recipe& r,
                                          unsigned threads, progress& bar) {
    std::vector<layer_record> records(m.layers());
    parallel_for(m.layers(), threads, [&](std::size_t i) {
        const auto start = std::chrono::steady_clock::now();
        const auto& w = dense[i];
        const auto& calib = sites[m.site_index(i)];
        const auto name = m.layer_name(i);
        auto factors = [&] {
            try {
                thread_local nsvd::workspace memory;  // one layer's for the next
                return decompose(*r.how, w, calib, nsvd::compression{r.compression}, r.share, memory);
            } catch (const nsvd::error& e) {
                throw nsvd::error(fmt::format("layer {}: {}", name, e.what()));
            }
        }();
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;

        factors.left = rounded(factors.left, m.layer_dtype(i), name);
        factors.right = rounded(factors.right, m.layer_dtype(i), name);
        const auto item = static_cast<std::int64_t>(nsvd::safetensors::size_of(m.layer_dtype(i)));
        records[i] = {.name = name,
                      .m = w.rows(),
                      .n = w.cols(),
                      .rank = factors.rank(),
                      .parameters = factors.parameters(),
                      .bytes = (factors.left.size() + factors.right.size()) * item,
                      .weighted_error = nsvd::weighted_error(w, factors, calib),
                      .plain_error = nsvd::plain_error(w, factors),
                      .seconds = elapsed.count(),
                      .status = std::string(to_string(factors.info.status))};
        m.layer(i) = linear(std::move(factors));
        bar.step();
    });
    return records;
}

}  // namespace llm
