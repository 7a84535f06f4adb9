// SPDX-License-Identifier: MIT
// Any bytes are a file of statistics, whatever the prefixes in it, or an nsvd::error. What is read can be
// used: it merges, is written and read again to the bit, and decomposes a layer to something finite.
#include "memory_file.hpp"
#include "memory_folder.hpp"

#include <nsvd/ext/calibration_file.hpp>
#include <nsvd/ext/gram_file.hpp>
#include <nsvd/ext/out_of_core.hpp>
#include <nsvd/nsvd.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

/// The same where they lie, as a layer too large for memory is decomposed by them.
void use_in_place(const std::filesystem::path& path, const std::string& prefix) {
    static const fuzz::memory_folder folder;
    try {
        const nsvd::stored_gram gram(path, nsvd::whitening::cholesky, 0.1, prefix);
        if (gram.size() > 12) return;
        const Eigen::MatrixXd w = Eigen::MatrixXd::Random(3, gram.size());
        const auto d = nsvd::out_of_core::decompose(w, std::vector<nsvd::out_of_core::stage>{{gram}},
                                                    nsvd::rank{1}, {.scratch = folder.path()});
        require(d.left.allFinite() && d.right.allFinite() && !std::isnan(d.info.loss));
    } catch (const nsvd::error&) {
    }
}

/// Added to others in a file: what comes out is a file of statistics, of twice what went in.
void merge_in_file(const nsvd::safetensors::file& file, const std::string& prefix, index features) {
    static const fuzz::memory_folder folder;
    const auto path = folder.path() / "sum.safetensors";
    nsvd::gram_file sum(path, features, std::size_t{1} << 16);
    try {
        sum.merge(file, prefix);
        sum.merge(file, prefix);
    } catch (const nsvd::error&) {
        return;
    }
    sum.commit();
    try {
        const auto twice = nsvd::load_calibration<float>(path);
        require(twice.tokens() == sum.tokens() && twice.weight() == sum.weight());
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
                const std::string prefix = name.substr(0, name.size() - ending.size());
                read(file, prefix);
                use_in_place(source.path(), prefix);
                if (const auto& shape = file.at(name).shape;
                    !shape.empty() && shape[0] >= 1 && shape[0] <= 64)
                    merge_in_file(file, prefix, shape[0]);
                break;
            }
    } catch (const nsvd::error&) {
    }
    return 0;
}
