// SPDX-License-Identifier: MIT
/// How alike texts are for a model.
#pragma once

#include "calibrate.hpp"
#include "comparison.hpp"
#include "model.hpp"
#include "progress.hpp"

#include <string>
#include <vector>

namespace llm {

/// A text and the windows drawn from it.
struct named_windows {
    std::string name;
    weighted_windows text;
};

/// For each pair of texts the mean over all sites (but experts that either does not reach) of the cosine of
/// the angle between the Gram matrices of their inputs. The texts pass the model side by side, block by
/// block: besides their hidden states only the Gram matrices of one site are held. One progress step a text
/// and block. The result does not depend on `threads` (0: one a processor).
[[nodiscard]] text_similarity measure_similarity(const model& m, const std::vector<named_windows>& texts,
                                                 unsigned threads, progress& bar);

}  // namespace llm
