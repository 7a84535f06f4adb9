// SPDX-License-Identifier: MIT
// Any bytes are a file of statistics, whatever the prefixes in it, or an nsvd::error. What is read can be
// used: it merges, is written and read again to the bit, and decomposes a layer to something finite.
#include "memory_file.hpp"

#include <nsvd/ext/calibration_file.hpp>
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace {

using nsvd::index;

void require(bool holds) {
    if (!holds) std::abort();
}

/// Calls that may refuse these statistics, but not give anything that is not finite.
void use(const nsvd::calibration<float>& calib) {
    const index n = calib.features();
    require(calib.mean_abs().allFinite() && calib.mean().allFinite() && calib.gram().rows() == n);
    require(calib.gram() == calib.gram().transpose());
    if (n > 12) return;
    try {
        nsvd::calibration<float> twice = calib;
        twice.merge(calib);
        require(twice.tokens() >= calib.tokens());
    } catch (const nsvd::error&) {
    }
    const Eigen::MatrixXd w = Eigen::MatrixXd::Random(3, n);
    for (const auto how : {nsvd::whitening::diagonal, nsvd::whitening::cholesky, nsvd::whitening::eigen})
        try {
            const auto d = nsvd::asvd(w, calib, nsvd::rank{1}, {.whitening = how});
            require(d.left.allFinite() && d.right.allFinite() && !std::isnan(d.info.loss));
        } catch (const nsvd::error&) {
        }
}

double number_at(std::span<const std::byte> bytes, std::size_t at) {
    double number;
    std::memcpy(&number, bytes.data() + at, sizeof number);
    return number;
}

/// The statistics under a prefix, which are written as they were read.
void read(const nsvd::safetensors::file& file, const std::string& prefix) {
    try {
        const auto calib = nsvd::calibration_from<float>(file, prefix);
        use(calib);
        for (const auto& tensor : nsvd::to_tensors(calib, prefix)) {
            const auto& stored = file.at(tensor.name);
            require(tensor.dtype == stored.dtype && tensor.shape == stored.shape);
            if (tensor.dtype != nsvd::safetensors::dtype::F64) continue;
            // Zeros may have lost their signs.
            for (std::size_t at = 0; at < tensor.bytes.size(); at += sizeof(double))
                require(number_at(tensor.bytes, at) == number_at(stored.bytes, at));
        }
    } catch (const nsvd::error&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    const fuzz::memory_file source(bytes, size);
    try {
        use(nsvd::load_calibration<float>(source.path()));
    } catch (const nsvd::error&) {
    }
    try {
        // As nsvd-llm reads the sites of a model.
        const nsvd::safetensors::file file(source.path());
        for (const auto& name : file.tensors())
            for (const std::string_view ending : {"central_gram", "gram"}) {
                if (!name.ends_with(ending)) continue;
                read(file, name.substr(0, name.size() - ending.size()));
                break;
            }
    } catch (const nsvd::error&) {
    }
    return 0;
}
