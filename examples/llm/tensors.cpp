// SPDX-License-Identifier: MIT
#include "tensors.hpp"

#include <nsvd/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace llm {

namespace safetensors = nsvd::safetensors;

namespace {

Eigen::MatrixXf read_finite(const checkpoint& file, const std::string& name) {
    check_numbers(file, name);
    auto matrix = safetensors::to_matrix<float>(file.at(name));
    if (!matrix.allFinite()) fail(file, name, "has NaN or infinite values");
    return matrix;
}

}  // namespace

void fail(const checkpoint& file, const std::string& tensor, const std::string& what) {
    throw nsvd::error(fmt::format("{}: tensor '{}': {}", file.path_of(tensor).string(), tensor, what));
}

void check_shape(const checkpoint& file, const std::string& name, const std::vector<std::int64_t>& wanted,
                 std::string_view by) {
    const auto& shape = file.at(name).shape;
    if (shape != wanted) fail(file, name, fmt::format("has the shape {}, {} wants {}", shape, by, wanted));
}

void check_numbers(const checkpoint& file, const std::string& name) {
    const auto type = file.at(name).dtype;
    if (type != safetensors::dtype::F16 && type != safetensors::dtype::BF16 &&
        type != safetensors::dtype::F32)
        fail(file, name, fmt::format("dtype {}: want F16, BF16 or F32", safetensors::name_of(type)));
}

Eigen::MatrixXf read_matrix(const checkpoint& file, const std::string& name, Eigen::Index rows,
                            Eigen::Index cols, std::string_view by) {
    check_shape(file, name, {rows, cols}, by);
    return read_finite(file, name);
}

Eigen::VectorXf read_vector(const checkpoint& file, const std::string& name, Eigen::Index size) {
    check_shape(file, name, {size});
    return read_finite(file, name);
}

}  // namespace llm
