// SPDX-License-Identifier: MIT
/// What is done to a model: a method of the paper and what is put on top of it.
#pragma once

#include "methods.hpp"

#include <nsvd/storage.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

/// Who decides on the ranks of the layers.
enum class rank_rule : std::uint8_t {
    uniform,         ///< the same fraction of its numbers for each layer
    greedy,          ///< least sum of relative losses in the calibration's metric
    effective_rank,  ///< D-Rank
    loss_group,      ///< SVD-LLM V2
    sensitivity,     ///< ASVD's search: one bound on the perplexity of each layer compressed alone
    measured,        ///< least sum of the divergences of each layer compressed alone
};

struct recipe {
    std::string name;   ///< as on the command line: "nsvd-1+pivoted+greedy"
    std::string label;  ///< "NSVD-I + pivoted + greedy"
    const method* how = nullptr;
    double compression = 0;  ///< share of the parameters that is removed, in [0, 1)
    double share = 0.95;     ///< of the rank for the first stage of a nested method
    nsvd::storage storage = nsvd::storage::plain;
    rank_rule ranks = rank_rule::uniform;
    bool anchored = false;  ///< block after block, on the inputs that the compressed layers before give
    bool bias = false;      ///< b′ = b + (W − W′) E[x], with central moments
    bool joint = false;     ///< q, k, v as one layer, gate and up as one layer
    bool own_text = false;  ///< calibrated on windows that the model writes itself and on random ones as well
    bool tuned = false;     ///< share and blend of each layer by a second, held-out calibration
    bool tuned_once = false;  ///< the same, one choice for all layers
    double epsilon = 0.05;    ///< of the anchored regression
};

/// The preset `best`: ASVD-I in pivoted storage, ranks by measured divergences, anchored, calibrated on text
/// of the model's own beside the one given.
inline constexpr std::string_view best_recipe = "asvd-1+pivoted+measured+anchored+own-text";

/// METHOD[+FEATURE…]: a method (methods.hpp) or `best`, and any of the features pivoted, greedy,
/// effective-rank, loss-group, sensitivity, measured, anchored, bias, joint, own-text, tuned, tuned-once; on
/// top of what `base` has. Throws nsvd::error, with the known names, for any other.
[[nodiscard]] recipe parse_recipe(std::string_view text, const recipe& base = {});

/// The same recipe with the name and label that its method and features give it.
[[nodiscard]] recipe named(recipe r);

/// "plain", "pivoted"; throws nsvd::error, with the known names, for any other.
[[nodiscard]] nsvd::storage find_storage(std::string_view name);
/// "uniform", "greedy", "effective-rank", "loss-group", "sensitivity", "measured"; errors likewise.
[[nodiscard]] rank_rule find_rank_rule(std::string_view name);

}  // namespace llm
