// SPDX-License-Identifier: MIT
/// What is in a model folder.
#pragma once

#include "model.hpp"
#include "progress.hpp"
#include "sampled_spectrum.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace llm {

struct inspected_layer {
    std::string name;
    std::int64_t block = 0;
    std::string kind{};  ///< within the block
    std::int64_t m = 0, n = 0;
    std::string form;  ///< "dense", "factors", or what is kept: "rows", "columns"
    std::int64_t rank = 0, full_rank = 0;
    std::int64_t parameters = 0;
    std::int64_t bytes = 0, dense_bytes = 0;
    std::string dtype;
    sampled_spectrum spectrum{};  ///< empty: not known

    [[nodiscard]] bool dense() const { return form == "dense"; }
};

struct inspection {
    std::string folder;
    config shape;
    std::vector<inspected_layer> layers{};
    std::int64_t layer_bytes = 0, dense_layer_bytes = 0, layer_parameters = 0;
    std::int64_t embedding_bytes = 0, head_bytes = 0, other_bytes = 0;  ///< other: norms and the like
    nlohmann::ordered_json about{};  ///< what compress wrote into config.json; null without
    std::string spectra_from{};      ///< "report.json", "the weights", or empty
};

/// Whether spectra are shown where they have to be computed: `layers` eigenproblems.
enum class spectra { as_reported, computed };

/// Looks at a model. Spectra are those of `report.json` in its folder, of the layers before compression in
/// the metric of the method; or, where asked for and there are none, those of the weights as they are. One
/// progress step a layer. Throws nsvd::error naming the file where report.json is none of this program.
[[nodiscard]] inspection inspect(const model& m, spectra wanted, unsigned threads, progress& bar);

[[nodiscard]] nlohmann::ordered_json to_json(const inspection& found);

/// Facts, a table of the layers, with their spectra beside or below them, and totals, in at most `width`
/// columns where that is possible. Ends with a newline.
[[nodiscard]] std::string print_inspection(const inspection& found, std::size_t width, bool colours);

/// A spectrum as `width` bars, of log σ, the cut at `rank` as "│" between them. Where fewer than `full_rank`
/// are left, the rest is empty.
[[nodiscard]] std::string sparkline(const sampled_spectrum& spectrum, std::int64_t rank,
                                    std::int64_t full_rank, std::size_t width);

}  // namespace llm
