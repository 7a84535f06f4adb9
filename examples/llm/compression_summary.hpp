// SPDX-License-Identifier: MIT
/// What became of a model that was compressed: report.json, and a few lines for the terminal.
#pragma once

#include "compress.hpp"
#include "model.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace llm {

struct compression_summary {
    const llm::model& model;  ///< compressed
    const std::vector<layer_record>& layers;
    nlohmann::ordered_json about;  ///< what config.json says under `nsvd`
    nlohmann::ordered_json job;    ///< everything that the weights depend on (job.hpp)
    std::string label, output, command;
    unsigned threads = 0;
    double seconds = 0;
    nlohmann::ordered_json dense_texts, texts;  ///< by name: nll and perplexity
};

/// docs/formats.md, report.json.
[[nodiscard]] nlohmann::ordered_json to_json(const compression_summary& r);

/// A few lines, ending with a newline.
[[nodiscard]] std::string printed(const compression_summary& r);

}  // namespace llm
