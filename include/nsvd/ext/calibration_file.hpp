// SPDX-License-Identifier: MIT
/// Calibrations in safetensors files, which any framework reads. Needs nlohmann-json and POSIX.
#pragma once

#include "../calibration.hpp"
#include "safetensors.hpp"

#include <Eigen/Core>

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

/// The tensors of one calibration, each name preceded by `prefix`: `gram` (n×n, F64), `sum`, `sum_abs`,
/// `max_abs` (n, F64), `weight` (one number, F64) and `tokens` (one number, I64), as in `calibration_state`;
/// for pairs `cross` (n×n, F64) and `sum_original` (n, F64) as well. Central moments are called
/// `central_gram` and `central_cross`. Several calibrations fit into one file under different prefixes.
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
    const auto tokens = std::as_bytes(std::span(&state.tokens, 1));
    const auto stored = std::make_shared<const std::vector<std::byte>>(tokens.begin(), tokens.end());
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
    tensors.push_back({prefix + "tokens", dtype::I64, {1}, *stored, stored});
    return tensors;
}

/// Reads what `to_tensors` describes. Throws `nsvd::error`, naming the file, if a tensor is missing or there
/// twice (raw and central), has another dtype or shape, or the numbers can't be the statistics of any inputs
/// (see `calibration(calibration_state)`).
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
    const safetensors::view& tokens = tensor("tokens", dtype::I64, 1);
    if (weight.size() != 1 || tokens.bytes.size() != sizeof state.tokens)
        throw failure("weight and tokens are one number each");
    state.weight = weight(0);
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

/// What files of one calibration say of themselves.
[[nodiscard]] inline safetensors::string_map calibration_metadata() {
    return {{"format", "nsvd.calibration"}, {"version", "1"}};
}

}  // namespace detail

/// Writes one calibration to a file that appears under its name when it is complete. Throws `nsvd::error` if
/// it can't be written; a file that was there before is then untouched.
template <real_scalar Scalar>
void save_calibration(const std::filesystem::path& path, const calibration<Scalar>& calib) {
    safetensors::write(path, to_tensors(calib), detail::calibration_metadata());
}

/// Reads what `save_calibration` wrote, checked; errors as for `calibration_from`. `Scalar` may differ from
/// that of the calibration that was saved: the statistics are doubles either way.
template <real_scalar Scalar = float>
[[nodiscard]] calibration<Scalar> load_calibration(const std::filesystem::path& path) {
    const safetensors::file file(path);
    const auto& metadata = file.metadata();
    for (const auto& [key, value] : detail::calibration_metadata())
        if (const auto found = metadata.find(key); found == metadata.end() || found->second != value)
            throw error(path.string() + ": not a calibration of version 1: its metadata say nothing like it");
    return calibration_from<Scalar>(file);
}

}  // namespace nsvd::inline NSVD_ABI
