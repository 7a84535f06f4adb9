// SPDX-License-Identifier: MIT
#pragma once

#include "decompose.hpp"

namespace nsvd::inline NSVD_ABI {

/// Options of `svd`.
struct svd_options {
    nsvd::accuracy accuracy = nsvd::accuracy::balanced;  ///< how close to the optimum
    nsvd::workspace* workspace = nullptr;                ///< memory to reuse; not owned
    nsvd::progress_callback progress = {};               ///< told how far the call is (progress.hpp)
    nsvd::cancel_token cancel = {};                      ///< asked whether it is to stop
};

/// Truncated SVD: `W′ = Q Qᵀ W` with the leading k left singular vectors `Q` of `W` (`m×n`), the best rank-k
/// approximation in the Frobenius norm (Eckart and Young). One stage in the metric `I`; cost, errors and
/// limits as for `decompose`.
template <matrix W, rank_policy Policy>
[[nodiscard]] low_rank<detail::factor_scalar_t<W>> svd(const W& w, const Policy& policy,
                                                       const svd_options& options = {}) {
    const stage only{metric(), 1.0};
    return detail::decompose(w, {&only, 1}, policy,
                             {options.accuracy, options.workspace, options.progress, options.cancel}, "svd");
}

}  // namespace nsvd::inline NSVD_ABI
