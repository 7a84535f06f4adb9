// SPDX-License-Identifier: MIT
/// Compressing all linear layers of a model, and writing the result as a model folder.
#pragma once

#include "calibrate.hpp"
#include "effect.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "recipe.hpp"
#include "unit.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace llm {

/// What became of a linear layer (m×n), or of several that are one now.
struct layer_record {
    std::string name;
    std::int64_t m = 0, n = 0, rank = 0;
    std::int64_t parameters = 0, bytes = 0;  // of the layer as it is stored
    double weighted_error = 0, plain_error = 0;
    double seconds = 0;
    std::string status;  // "dense" where it was left as it was
};

/// What recipes have to go by.
struct compression_input {
    std::vector<token> calibration;
    std::string calibration_name;  ///< in errors
    sampling sample;
    std::vector<token> held_out = {};  ///< the second calibration of tuned recipes
    std::string held_out_name = {};
    std::vector<std::string> keep_dense = {};  ///< parts of the names of layers, or "spiking" (nsvd::spiking)
    unsigned threads = 0;                      ///< 0: one a processor
};

/// Throws nsvd::error naming the first layer that is in factors.
void require_dense(const model& m);

/// Compresses one model by any number of recipes, one after the other. What several of them need (statistics
/// of inputs, spectra, effects of layers compressed alone) is found once.
class compressor {
public:
    /// Throws nsvd::error where the texts are too short, or a part of a name belongs to no layer. The layers
    /// of the model are taken as they are now, factors multiplied out.
    compressor(model& m, compression_input input, progress& bar);

    /// Decomposes the layers and puts them, rounded to the type in which the model stores them, into the
    /// model, in the place of what the recipe before has left. The result does not depend on `threads`.
    /// Errors are measured on the calibration text. Throws nsvd::error for a recipe that can't be followed.
    std::vector<layer_record> run(const recipe& r);

    /// Tokens of the calibration text.
    [[nodiscard]] std::int64_t calibration_tokens() const;

private:
    struct calibrated {
        weighted_windows windows;
        std::vector<nsvd::calibration<float>> sites;
    };
    const calibrated& calibration_for(bool own_text, nsvd::moments about);
    [[nodiscard]] const nsvd::calibration<float>& inputs_of(const unit& u, const calibrated& c) const {
        return c.sites[model_.site_index(u.layers.front())];
    }
    std::vector<bool> protected_units(const std::vector<unit>& units);
    std::vector<method_options> tune(const recipe& r, const std::vector<unit>& units,
                                     const std::vector<std::optional<Eigen::Index>>& ranks,
                                     const calibrated& calib);
    void compress_apart(const recipe& r, const std::vector<unit>& units,
                        const std::vector<std::optional<Eigen::Index>>& ranks,
                        const std::vector<method_options>& options, const calibrated& calib,
                        std::vector<layer_record>& records);
    void compress_in_order(const recipe& r, const std::vector<unit>& units,
                           const std::vector<std::optional<Eigen::Index>>& ranks,
                           const std::vector<method_options>& options, const calibrated& calib,
                           std::vector<layer_record>& records);
    layer_record put(const unit& u, const Eigen::MatrixXf& w, std::optional<linear> layer,
                     const std::string& status);
    void restore();

    model& model_;
    compression_input input_;
    progress& bar_;
    std::vector<linear> originals_;  // dense
    std::map<std::tuple<bool, nsvd::moments>, calibrated> calibrations_;
    std::map<std::string, std::vector<Eigen::VectorXd>> spectra_;
    std::map<std::string, std::vector<unit_effects>> effects_;
    std::optional<std::vector<nsvd::calibration<float>>> held_out_;
};

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
