// SPDX-License-Identifier: MIT
/// Calibrations in safetensors files, which any framework reads. Needs nlohmann-json, xxHash and POSIX.
#pragma once

#include "../calibration.hpp"
#include "checksum.hpp"
#include "safetensors.hpp"

#include <Eigen/Core>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nsvd::inline NSVD_ABI {

namespace detail {

/// All tensors that a calibration may have, in the order in which they count for its checksum.
inline constexpr std::array calibration_tensors{"gram",    "central_gram", "sum",           "sum_abs",
                                                "max_abs", "cross",        "central_cross", "sum_original",
                                                "weight",  "tokens"};

}  // namespace detail

/// The tensors of one calibration, each name preceded by `prefix`: `gram` (n×n, F64), `sum`, `sum_abs`,
/// `max_abs` (n, F64), `weight` (one number, F64) and `tokens` (one number, I64), as in `calibration_state`;
/// for pairs `cross` (n×n, F64) and `sum_original` (n, F64) as well. Central moments are called
/// `central_gram` and `central_cross`. `xxh3` (one number, U64) is the checksum of all of them. Several
/// calibrations fit into one file under different prefixes.
template <real_scalar Scalar>
[[nodiscard]] std::vector<safetensors::tensor> to_tensors(const calibration<Scalar>& calib,
                                                          const std::string& prefix = {}) {
    using safetensors::dtype;
    const auto vector = [&](const char* name, const Eigen::VectorXd& values) {
        safetensors::tensor t = safetensors::from_matrix(prefix + name, dtype::F64, values);
        t.shape = {values.size()};
        return t;
    };
    const calibration_state& state = calib.state();
    const auto integer = [&](const char* name, dtype type, auto value) {
        const auto bytes = std::as_bytes(std::span(&value, 1));
        const auto stored = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
        return safetensors::tensor{prefix + name, type, {1}, *stored, stored};
    };
    const bool central = state.about == moments::central;
    const auto matrix = [&](const char* name, const Eigen::MatrixXd& values) {
        return safetensors::from_matrix(prefix + (central ? "central_" : "") + name, dtype::F64, values);
    };
    std::vector<safetensors::tensor> tensors{matrix("gram", central ? calib.central_gram() : calib.gram()),
                                             vector("sum", state.sum), vector("sum_abs", state.sum_abs),
                                             vector("max_abs", state.max_abs)};
    if (calib.has_cross()) {
        tensors.push_back(matrix("cross", state.cross));
        tensors.push_back(vector("sum_original", state.sum_original));
    }
    tensors.push_back(vector("weight", Eigen::VectorXd::Constant(1, state.weight)));
    tensors.push_back(integer("tokens", dtype::I64, state.tokens));
    checksum sum;
    for (const safetensors::tensor& t : tensors)
        sum.add(t.name, t.dtype, t.shape, t.bytes);
    tensors.push_back(integer("xxh3", dtype::U64, sum.value()));
    return tensors;
}

/// Throws `nsvd::error`, naming the file, unless the tensors under `prefix` are those that `to_tensors` made,
/// by their checksum; files of version 1 have none. For a program that copies tensors without reading them.
inline void check_calibration(const safetensors::file& file, const std::string& prefix = {}) {
    const auto fail = [&](const std::string& what) {
        throw error(file.path().string() + ": tensor '" + prefix + "xxh3': " + what);
    };
    if (!file.contains(prefix + "xxh3")) {
        const auto version = file.metadata().find("version");
        if (version != file.metadata().end() && version->second != "1") fail("is missing");
        return;
    }
    checksum sum;
    for (const char* name : detail::calibration_tensors) {
        if (!file.contains(prefix + name)) continue;
        const safetensors::view& t = file.at(prefix + name);
        sum.add(prefix + name, t.dtype, t.shape, t.bytes);
    }
    const safetensors::view& written = file.at(prefix + "xxh3");
    const std::uint64_t value = sum.value();
    if (written.bytes.size() != sizeof value) fail("not one number");
    if (std::memcmp(written.bytes.data(), &value, sizeof value) != 0)
        fail(
            "not the checksum of the statistics, which are damaged: remove the file and gather them again, "
            "or "
            "take another copy of it");
}

/// Reads what `to_tensors` describes. Throws `nsvd::error`, naming the file, if the checksum is that of
/// something else (there is none in files of version 1), a tensor is missing or there twice (raw and
/// central), has another dtype or shape, or the numbers can't be the statistics of any inputs (see
/// `calibration(calibration_state)`).
template <real_scalar Scalar = float>
[[nodiscard]] calibration<Scalar> calibration_from(const safetensors::file& file,
                                                   const std::string& prefix = {}) {
    using safetensors::dtype;
    const auto failure = [&](const std::string& what) { return error(file.path().string() + ": " + what); };
    const auto tensor = [&](const char* name, dtype type,
                            std::size_t dimensions) -> const safetensors::view& {
        const safetensors::view& t = file.at(prefix + name);
        if (t.dtype != type || t.shape.size() != dimensions)
            throw failure("tensor '" + prefix + name + "': not " + std::to_string(dimensions) +
                          "-dimensional " + std::string(name_of(type)));
        return t;
    };
    const auto vector = [&](const char* name) -> Eigen::VectorXd {
        return safetensors::to_matrix<double>(tensor(name, dtype::F64, 1));
    };
    const auto has = [&](const char* name) { return file.contains(prefix + name); };
    check_calibration(file, prefix);
    calibration_state state;
    if (has("central_gram")) state.about = moments::central;
    const bool central = state.about == moments::central;
    if (central && has("gram")) throw failure("both '" + prefix + "gram' and '" + prefix + "central_gram'");
    const char* const gram = central ? "central_gram" : "gram";
    const char* const cross = central ? "central_cross" : "cross";
    state.gram = safetensors::to_matrix<double>(tensor(gram, dtype::F64, 2));
    if (has("cross") || has("central_cross") || has("sum_original")) {
        if (has(central ? "cross" : "central_cross"))
            throw failure("'" + prefix + gram + "' with '" + prefix +
                          (central ? "cross'" : "central_cross'"));
        state.cross = safetensors::to_matrix<double>(tensor(cross, dtype::F64, 2));
        state.sum_original = vector("sum_original");
    }
    state.sum = vector("sum");
    state.sum_abs = vector("sum_abs");
    state.max_abs = vector("max_abs");
    const Eigen::VectorXd weight = vector("weight");
    if (weight.size() != 1) throw failure("tensor '" + prefix + "weight': not one number");
    state.weight = weight(0);
    const safetensors::view& tokens = tensor("tokens", dtype::I64, 1);
    if (tokens.bytes.size() != sizeof state.tokens)
        throw failure("tensor '" + prefix + "tokens': not one number");
    std::memcpy(&state.tokens, tokens.bytes.data(), sizeof state.tokens);
    if (state.gram.rows() == state.gram.cols() &&
        (state.gram.array() != state.gram.transpose().array()).any())
        throw failure("tensor '" + prefix + gram + "': not symmetric");
    try {
        return calibration<Scalar>(std::move(state));
    } catch (const error& e) {
        throw failure(e.what());
    }
}

namespace detail {

/// What files of one calibration say of themselves; those of version 1 have no checksum.
[[nodiscard]] inline safetensors::string_map calibration_metadata(const char* version) {
    return {{"format", "nsvd.calibration"}, {"version", version}};
}

}  // namespace detail

/// Writes one calibration to a file that appears under its name when it is complete. Throws `nsvd::error` if
/// it can't be written; a file that was there before is then untouched.
template <real_scalar Scalar>
void save_calibration(const std::filesystem::path& path, const calibration<Scalar>& calib) {
    safetensors::write(path, to_tensors(calib), detail::calibration_metadata("2"));
}

/// Reads what `save_calibration` wrote, checked; errors as for `calibration_from`. Files of version 1 are
/// read, too. `Scalar` may differ from that of the calibration that was saved: the statistics are doubles
/// either way.
template <real_scalar Scalar = float>
[[nodiscard]] calibration<Scalar> load_calibration(const std::filesystem::path& path) {
    const safetensors::file file(path);
    const auto& metadata = file.metadata();
    const auto is = [&](const char* key, const char* value) {
        const auto found = metadata.find(key);
        return found != metadata.end() && found->second == value;
    };
    if (!is("format", "nsvd.calibration") || !(is("version", "1") || is("version", "2")))
        throw error(path.string() +
                    ": not a calibration of version 1 or 2: its metadata say nothing like it");
    return calibration_from<Scalar>(file);
}

}  // namespace nsvd::inline NSVD_ABI
