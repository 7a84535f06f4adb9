// SPDX-License-Identifier: MIT
/// Reads two-dimensional float32 arrays from .npy files.
#pragma once

#include <Eigen/Core>

#include <filesystem>
#include <fstream>
#include <regex>
#include <stdexcept>
#include <string>

namespace support {

inline Eigen::MatrixXf read_npy(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    char magic[10];
    file.read(magic, sizeof magic);
    const auto byte = [&](int i) { return static_cast<unsigned>(static_cast<unsigned char>(magic[i])); };
    std::string header(byte(8) + 256 * byte(9), ' ');
    file.read(header.data(), static_cast<std::streamsize>(header.size()));
    std::smatch shape;
    if (!file || header.find("'<f4'") == std::string::npos ||
        !std::regex_search(header, shape, std::regex(R"(\((\d+), (\d+)\))")))
        throw std::runtime_error(path.string() + " is not a 2-d float32 array");
    const Eigen::Index rows = std::stol(shape[1]);
    const Eigen::Index cols = std::stol(shape[2]);
    const auto read = [&](auto matrix) {
        file.read(reinterpret_cast<char*>(matrix.data()),
                  static_cast<std::streamsize>(sizeof(float)) * rows * cols);
        if (!file) throw std::runtime_error(path.string() + " is too short");
        return Eigen::MatrixXf(matrix);
    };
    if (header.find("'fortran_order': True") != std::string::npos) return read(Eigen::MatrixXf(rows, cols));
    return read(Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>(rows, cols));
}

}  // namespace support
