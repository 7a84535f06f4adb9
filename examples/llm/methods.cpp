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

nsvd::metric first_metric(const method& how, const nsvd::calibration<float>& calib,
                          const method_options& options) {
    if (!how.whitening) return {};
    if (*how.whitening == nsvd::whitening::diagonal) return nsvd::diagonal_metric(calib, options.alpha);
    return options.moments == nsvd::moments::central
               ? nsvd::central_gram_metric(calib, *how.whitening, options.blend)
               : nsvd::gram_metric(calib, *how.whitening, options.blend);
}

nsvd::low_rank<float> decompose(const method& how, const Eigen::MatrixXf& w,
                                const nsvd::calibration<float>& calib, Eigen::Index k,
                                const method_options& options, nsvd::workspace& memory) {
    if (!how.whitening) return nsvd::svd(w, nsvd::rank{k}, {.workspace = &memory});
    const bool diagonal = *how.whitening == nsvd::whitening::diagonal;
    const auto moments = diagonal ? nsvd::moments::raw : options.moments;
    const double blend = diagonal ? 0.0 : options.blend;
    if (!how.residual)
        return nsvd::asvd(w, calib, nsvd::rank{k},
                          {.whitening = *how.whitening,
                           .alpha = options.alpha,
                           .blend = blend,
                           .workspace = &memory,
                           .moments = moments});
    return nsvd::nested(w, calib, nsvd::rank{k},
                        {.whitening = *how.whitening,
                         .share = options.share,
                         .residual = *how.residual,
                         .alpha = options.alpha,
                         .blend = blend,
                         .workspace = &memory,
                         .moments = moments});
}

nsvd::low_rank<float> decompose_in_stages(const method& how, const Eigen::MatrixXf& w,
                                          const std::vector<nsvd::calibration<float>>& calibs, Eigen::Index k,
                                          const method_options& options, nsvd::workspace& memory) {
    if (!how.whitening) throw nsvd::error("plain SVD has no use for statistics: give another method");
    const double part = how.residual ? options.share : 1.0;
    std::vector<nsvd::stage> stages;
    for (const auto& calib : calibs)
        stages.push_back({first_metric(how, calib, options), part / static_cast<double>(calibs.size())});
    if (how.residual == nsvd::residual::interpolative)
        stages.push_back({nsvd::column_selection{}, 1 - part});
    else if (how.residual)
        stages.push_back({nsvd::metric(), 1 - part});
    return nsvd::decompose(w, stages, nsvd::rank{k}, {.workspace = &memory});
}

}  // namespace llm
