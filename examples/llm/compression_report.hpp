// SPDX-License-Identifier: MIT
/// The report that `compress` leaves beside a model (docs/format.md), and its page.
#pragma once

#include "layer_result.hpp"
#include "page.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace llm {

struct calibration_text {
    std::string file;
    std::int64_t tokens = 0;
    std::int64_t windows = 0;
};

struct text_change {
    std::string name;
    double dense = 0;  ///< perplexities
    double compressed = 0;
    double dense_nll = 0, compressed_nll = 0;
};

struct compression_report {
    std::string nsvd{}, command{}, date{}, machine{};
    std::string model{}, output{};
    std::string method{}, label{};
    double compression = 0;
    nlohmann::ordered_json options{};
    nlohmann::ordered_json job{};  ///< everything that the weights depend on (job.hpp)
    std::vector<calibration_text> calibration{};
    std::int64_t dense_bytes = 0, bytes = 0;
    std::int64_t dense_parameters = 0, parameters = 0;
    double seconds = 0;
    std::int64_t mpi_ranks = 1;  ///< processes that took part
    std::vector<layer_result> layers{};
    std::vector<text_change> texts{};
};

/// Whether this says of itself that it is such a report.
[[nodiscard]] bool is_compression_report(const nlohmann::ordered_json& report);

/// Throws nsvd::error naming the key for what is no such report, or one of a later version.
[[nodiscard]] compression_report read_compression_report(const nlohmann::ordered_json& report);

/// `read_compression_report(to_json(r))` is r, but for the job. Figures that aren't finite are null.
[[nodiscard]] nlohmann::ordered_json to_json(const compression_report& r);

/// A few lines for a terminal, ending with a newline.
[[nodiscard]] std::string printed(const compression_report& r);

/// Facts, perplexities, maps of ranks and errors, spectra with their cuts, and all layers.
[[nodiscard]] page_section compression_section(const compression_report& report);

/// The page of one report; throws like read_compression_report.
[[nodiscard]] std::string compression_page(const nlohmann::ordered_json& report);

}  // namespace llm
