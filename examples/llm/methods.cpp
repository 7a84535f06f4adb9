// SPDX-License-Identifier: MIT
#include "methods.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace llm {

const method& find_method(std::string_view name) {
    const auto found =
        std::find_if(methods.begin(), methods.end(), [&](const auto& m) { return m.name == name; });
    if (found != methods.end()) return *found;
    std::vector<std::string_view> known;
    for (const auto& m : methods)
        known.push_back(m.name);
    throw nsvd::error(fmt::format("unknown method '{}': known are {}", name, fmt::join(known, ", ")));
}

nsvd::low_rank<float> decompose(const method& how, const Eigen::MatrixXf& w,
                                const nsvd::calibration<float>& calib, nsvd::compression ratio, double share,
                                nsvd::workspace& memory) {
    if (!how.whitening) return nsvd::svd(w, ratio, {.workspace = &memory});
    if (!how.residual)
        return nsvd::asvd(w, calib, ratio, {.whitening = *how.whitening, .workspace = &memory});
    return nsvd::nested(
        w, calib, ratio,
        {.whitening = *how.whitening, .share = share, .residual = *how.residual, .workspace = &memory});
}

}  // namespace llm
