// SPDX-License-Identifier: MIT
/// Compressing all linear layers of a model.
#pragma once

#include "calibrate.hpp"
#include "calibration_set.hpp"
#include "effect.hpp"
#include "input_statistics.hpp"
#include "journal.hpp"
#include "layer_result.hpp"
#include "model.hpp"
#include "processes.hpp"
#include "progress.hpp"
#include "recipe.hpp"
#include "stored_layer.hpp"
#include "unit.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace llm {

/// What recipes have to go by.
struct compression_input {
    std::vector<token> calibration;
    std::string calibration_name;  ///< in errors
    sampling sample;
    std::vector<token> held_out = {};  ///< the second calibration of tuned recipes
    std::string held_out_name = {};
    std::vector<std::string> keep_dense = {};  ///< parts of the names of layers, or "spiking" (nsvd::spiking)
    unsigned threads = 0;                      ///< 0: one a processor
    /// Statistics of the inputs in files (calibration_set.hpp), in place of those of the calibration text.
    std::vector<std::filesystem::path> statistics = {};
    statistics_use use = statistics_use::pooled;  ///< of several files
    /// Where what is finished is kept: one journal for one recipe.
    const journal* kept = nullptr;
    /// Statistics of one block at a time: a pass through the blocks for each use of them.
    bool low_memory = false;
    /// Those that share the work; more than one need a journal, in a folder that all of them see.
    const processes* world = nullptr;
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
    /// Errors are measured on the calibration text. Of several processes, each decomposes the units it owns,
    /// and all have the whole result; it depends on their number by the rounding of sums of statistics.
    /// Throws nsvd::error for a recipe that can't be followed.
    std::vector<layer_result> run(const recipe& r);

    /// Tokens of the calibration text.
    [[nodiscard]] std::int64_t calibration_tokens() const;

private:
    struct calibrated {
        weighted_windows windows;
        weighted_windows share;  // of this process
        std::unique_ptr<input_statistics> statistics;
    };
    using unit_ranks = std::vector<std::optional<Eigen::Index>>;

    const calibrated& calibration_for(bool own_text, nsvd::moments about);
    [[nodiscard]] const calibrated& text(nsvd::moments about = nsvd::moments::raw) {
        return calibration_for(false, about);
    }
    [[nodiscard]] std::unique_ptr<input_statistics> statistics_of(const weighted_windows& share,
                                                                  nsvd::moments about, const char* name,
                                                                  input_statistics::memory keep);
    [[nodiscard]] std::unique_ptr<input_statistics> kept_by_owners(std::unique_ptr<statistics_source> mine,
                                                                   distributed_statistics::parts are,
                                                                   input_statistics::memory keep);
    [[nodiscard]] weighted_windows share_of(const weighted_windows& all) const {
        return all.share(world_.own(), world_.count());
    }
    /// Files of this process in the journal.
    [[nodiscard]] std::string own_name(const std::string& name) const;
    /// Deals out the units.
    void find_owners(const recipe& r, const std::vector<unit>& units);
    [[nodiscard]] bool owns(std::size_t unit) const {
        return owners_[unit] == static_cast<int>(world_.own());
    }
    [[noreturn]] void throw_not_there(std::size_t i, const unit& u) const;
    /// Of the inputs of a site.
    [[nodiscard]] const std::vector<int>& owners_of(std::size_t block, const site& where) const {
        return site_owners_[model_.site_index(block, where)];
    }
    [[nodiscard]] input_statistics::memory memory() const {
        return input_.low_memory ? input_statistics::memory::one_block : input_statistics::memory::all;
    }
    /// Whether several statistics have a stage each.
    [[nodiscard]] bool in_stages() const {
        return input_.use == statistics_use::stages && input_.statistics.size() > 1;
    }
    [[nodiscard]] const nsvd::calibration<float>& inputs_of(const unit& u, const calibrated& c) const;
    /// What metrics are made of: the same, but for experts (shrinkage.hpp).
    [[nodiscard]] nsvd::calibration<float> metric_inputs(const unit& u, const calibrated& c) const;
    [[nodiscard]] std::vector<nsvd::calibration<float>> inputs_in(const std::vector<calibration_set>& sets,
                                                                  const unit& u) const;
    /// Calls `work` for the units that are `pending` and fall to this process, in parallel where their
    /// statistics `of` fit together. `pending` takes from the journal what is there, at the end what the
    /// other processes have made.
    void for_units(const std::vector<unit>& units, std::initializer_list<const calibrated*> of,
                   const std::function<bool(std::size_t)>& pending,
                   const std::function<void(std::size_t)>& work);

    /// Gathers the statistics of a block, of all where they stay in memory: before processes part.
    void reach(std::size_t block, const calibrated& calib);
    std::vector<bool> protected_units(const std::vector<unit>& units);
    std::vector<Eigen::VectorXd> find_spectra(const std::vector<unit>& units,
                                              const std::function<nsvd::metric(const unit&)>& metric_of,
                                              const calibrated& calib);
    std::vector<method_options> tune(const recipe& r, const std::vector<unit>& units, const unit_ranks& ranks,
                                     const calibrated& calib);
    void compress_apart(const recipe& r, const std::vector<unit>& units, const unit_ranks& ranks,
                        const std::vector<method_options>& options, const calibrated& calib,
                        std::vector<layer_result>& records);
    void compress_in_order(const recipe& r, const std::vector<unit>& units, const unit_ranks& ranks,
                           const std::vector<method_options>& options, const calibrated& calib,
                           std::vector<layer_result>& records);
    /// A decomposed unit goes into the model and the journal.
    layer_result put(std::size_t i, const unit& u, const Eigen::MatrixXf& w, const linear& layer,
                     const nsvd::decomposition_info& info, double seconds);
    layer_result leave_dense(const unit& u);
    /// What is known of a unit before it is decomposed.
    [[nodiscard]] layer_result result_of(const unit& u) const;
    // What the journal has of a unit; `take_kept` puts it into the model, and says whether there was any.
    [[nodiscard]] bool is_kept(std::size_t i) const;
    [[nodiscard]] stored_layer kept_layer(std::size_t i, const unit& u) const;
    bool take_kept(std::size_t i, const unit& u, std::vector<layer_result>& records);
    void restore();

    model& model_;
    compression_input input_;
    progress& bar_;
    journal no_journal_;
    const journal& journal_;
    processes alone_;
    const processes& world_;
    std::vector<int> owners_;                    // of the units
    std::vector<std::vector<int>> site_owners_;  // by model::site_index
    std::vector<linear> originals_;              // dense
    std::map<std::tuple<bool, nsvd::moments>, calibrated> calibrations_;
    std::optional<weighted_windows> own_windows_;  // beside the text
    weighted_windows own_share_;
    std::map<nsvd::moments, std::unique_ptr<input_statistics>> own_;
    std::map<std::string, std::vector<Eigen::VectorXd>> spectra_;
    std::map<std::string, std::vector<unit_effects>> effects_;
    std::optional<calibrated> held_out_;
};

}  // namespace llm
