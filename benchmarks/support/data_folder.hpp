// SPDX-License-Identifier: MIT
/// Real matrices from a folder: pairs `NAME_W.npy`, `NAME_X.npy` (weights m×n, activations n×T, float32), and
/// the linear layers of every safetensors model below it, whose activations are made up.
#pragma once

#include "problem.hpp"

#include <filesystem>
#include <vector>

namespace bench {

/// All problems of a folder, in the order of their names.
[[nodiscard]] std::vector<problem_spec> problems_in(const std::filesystem::path& folder);

[[nodiscard]] problem read_problem(const problem_spec& spec);

/// A matrix as a float32 or float64 `.npy` file, for the Python side.
template <class Scalar>
void write_npy(const std::filesystem::path& path, const dense<Scalar>& matrix);

}  // namespace bench
