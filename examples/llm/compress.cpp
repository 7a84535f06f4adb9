// SPDX-License-Identifier: MIT
#include "compress.hpp"

#include "stored_layer.hpp"
#include "threads.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace llm {

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

        m.layer(i) = rounded(linear(std::move(factors), m.layer(i).bias()), m.layer_dtype(i), name);
        const auto& stored = *m.layer(i).factors();
        records[i] = {.name = name,
                      .m = w.rows(),
                      .n = w.cols(),
                      .rank = stored.rank(),
                      .parameters = m.layer(i).parameters(),
                      .bytes = stored_bytes(m.layer(i), m.layer_dtype(i)),
                      .weighted_error = nsvd::weighted_error(w, stored, calib),
                      .plain_error = nsvd::plain_error(w, stored),
                      .seconds = elapsed.count(),
                      .status = std::string(to_string(stored.info.status))};
        bar.step();
    });
    return records;
}

}  // namespace llm
