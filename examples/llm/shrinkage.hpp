// SPDX-License-Identifier: MIT
/// Statistics of experts, many of which see fewer tokens than they have features.
#pragma once

#include "model.hpp"
#include "site.hpp"

#include <nsvd/calibration.hpp>

#include <cstddef>
#include <functional>

namespace llm {

/// A calibration whose tokens count `factor` > 0 times what they did.
[[nodiscard]] nsvd::calibration<float> scaled(const nsvd::calibration<float>& calib, double factor);

/// `own` as if n = features further tokens had been seen that are what those of `pool` are on average. For
/// raw moments the Gram matrix is `C + n C_pool / T_pool`; that of the pool alone, up to scale, where `own`
/// has no tokens. `own` itself where the pool has none.
[[nodiscard]] nsvd::calibration<float> shrunk_to_pool(const nsvd::calibration<float>& own,
                                                      const nsvd::calibration<float>& pool);

/// `own` as if n further tokens had been seen whose channels are uncorrelated, of mean 0 and of the mean
/// square that those of `like` have on average. For raw moments and like = own the Gram matrix is
/// `C + (tr C / T) I`; a multiple of I where `own` has no tokens, I itself where `like` has none either. In
/// pairs, where `like` has such, the two inputs of a further token are the same.
[[nodiscard]] nsvd::calibration<float> shrunk_to_diagonal(const nsvd::calibration<float>& own,
                                                          const nsvd::calibration<float>& like);

/// Statistics of a site of some block.
using site_lookup = std::function<const nsvd::calibration<float>&(const site&)>;

/// What the statistics of a site are taken to be where a metric is made of them: its own, but for experts.
/// Those take their inputs from the same stream: they are shrunk to the pool of all experts of the block.
/// The channels of one expert's hidden activations are not those of another's: they are shrunk to the
/// diagonal, without tokens of its own to that of the experts' mean square.
[[nodiscard]] nsvd::calibration<float> for_metric(const model& m, const site& where, const site_lookup& at);

}  // namespace llm
