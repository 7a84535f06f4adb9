// SPDX-License-Identifier: MIT
/// Tensors of a model in single precision, shape, type and values checked.
#pragma once

#include "checkpoint.hpp"

#include <Eigen/Core>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

/// Throws nsvd::error "FILE: tensor 'x': what".
[[noreturn]] void fail(const checkpoint& file, const std::string& tensor, const std::string& what);

/// Throws nsvd::error naming the shape there is, the shape wanted and by what it is wanted.
void check_shape(const checkpoint& file, const std::string& name, const std::vector<std::int64_t>& wanted,
                 std::string_view by = "config.json");

/// Throws nsvd::error unless the tensor is F16, BF16 or F32.
void check_numbers(const checkpoint& file, const std::string& name);

/// The tensor as an m×n matrix, or a column of m numbers. Throws nsvd::error naming file and tensor unless it
/// is there, has that shape, is F16, BF16 or F32, and is finite.
[[nodiscard]] Eigen::MatrixXf read_matrix(const checkpoint& file, const std::string& name, Eigen::Index rows,
                                          Eigen::Index cols, std::string_view by = "config.json");
[[nodiscard]] Eigen::VectorXf read_vector(const checkpoint& file, const std::string& name, Eigen::Index size);

}  // namespace llm
