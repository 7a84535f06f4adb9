// SPDX-License-Identifier: MIT
/// Compressing all linear layers of a model, and writing the result as a model folder.
#pragma once

#include "calibrate.hpp"
#include "methods.hpp"
#include "model.hpp"
#include "progress.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace llm {

/// What became of a linear layer (m×n).
struct layer_record {
    std::string name;
    std::int64_t m = 0, n = 0, rank = 0;
    std::int64_t parameters = 0, bytes = 0;  // of the layer as it is stored
    double weighted_error = 0, plain_error = 0;
    double seconds = 0;
    std::string status;
};

struct recipe {
    const method* how = nullptr;
    double compression = 0;  // share of the parameters that is removed, in [0, 1)
    double share = 0.95;     // of the rank for the first stage of a nested method
};

/// Throws nsvd::error naming the first layer that is in factors.
void require_dense(const model& m);

/// Moves the weights W of all layers out of the model; of a layer in factors or pivots, their product. Biases
/// stay.
[[nodiscard]] std::vector<Eigen::MatrixXf> take_weights(model& m);

/// Decomposes every layer and puts the factors, rounded to the type in which the model stores the layer, into
/// the model. The result does not depend on `threads` (0: one a processor). One progress step a layer.
std::vector<layer_record> compress_layers(model& m, const std::vector<Eigen::MatrixXf>& dense,
                                          const std::vector<nsvd::calibration<float>>& sites, const recipe& r,
                                          unsigned threads, progress& bar);

/// Throws nsvd::error unless a model can be written to `output`: another folder than the model's own, that is
/// not there, is empty or may be overwritten (`force`).
void check_output(const model& m, const std::filesystem::path& output, bool force);

/// Writes the model's folder with every layer as it is in the model (stored_layer.hpp), in the type that the
/// source stores it in, `about` under the key `nsvd` of config.json, everything else, and dense layers that
/// were not changed, byte for byte as in the source. The files get their names when all are complete;
/// files of other names in an existing folder are left alone. Throws nsvd::error like check_output, or when
/// writing fails.
void save_model(const model& m, const std::filesystem::path& output, const nlohmann::ordered_json& about,
                bool force);

}  // namespace llm
