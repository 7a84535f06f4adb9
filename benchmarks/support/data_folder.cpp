// SPDX-License-Identifier: MIT
#include "data_folder.hpp"

#include <nsvd/ext/safetensors.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

namespace bench {

namespace {

constexpr const char* weights_ending = "_W.npy";
constexpr const char* inputs_ending = "_X.npy";

/// Position of what follows `'key':` in the header of an npy file, a Python dictionary.
std::size_t after_key(const std::string& header, const std::string& key, const std::filesystem::path& path) {
    const std::size_t at = header.find("'" + key + "':");
    if (at == std::string::npos) throw std::runtime_error(path.string() + ": no " + key);
    return at + key.size() + 3;
}

/// Length of the header text; the file is left at its start.
std::string npy_header(std::ifstream& file, const std::filesystem::path& path) {
    char fixed[10];
    file.read(fixed, sizeof fixed);
    if (!file || std::string(fixed, 6) != "\x93NUMPY")
        throw std::runtime_error(path.string() + ": no npy file");
    const auto length = static_cast<std::size_t>(static_cast<unsigned char>(fixed[8]) |
                                                 static_cast<unsigned char>(fixed[9]) << 8U);
    std::string header(length, ' ');
    file.read(header.data(), static_cast<std::streamsize>(length));
    return header;
}

std::pair<Index, Index> npy_shape(const std::string& header, const std::filesystem::path& path) {
    long rows = 0;
    long cols = 0;
    if (std::sscanf(header.c_str() + after_key(header, "shape", path), " (%ld, %ld)", &rows, &cols) != 2)
        throw std::runtime_error(path.string() + ": not two-dimensional");
    return {rows, cols};
}

std::pair<Index, Index> npy_shape(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return npy_shape(npy_header(file, path), path);
}

Eigen::MatrixXf read_npy(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string header = npy_header(file, path);
    if (header.find("'<f4'") == std::string::npos ||
        header.find("'fortran_order': False") == std::string::npos)
        throw std::runtime_error(path.string() + ": wanted row-major float32");
    const auto [rows, cols] = npy_shape(header, path);
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> values(rows, cols);
    file.read(reinterpret_cast<char*>(values.data()),
              static_cast<std::streamsize>(values.size()) * static_cast<std::streamsize>(sizeof(float)));
    if (!file) throw std::runtime_error(path.string() + ": truncated");
    return values;
}

bool ends_with(const std::filesystem::path& path, const std::string& ending) {
    return path.string().ends_with(ending);
}

std::filesystem::path inputs_of(const std::string& weights) {
    return weights.substr(0, weights.size() - std::string(weights_ending).size()) + inputs_ending;
}

}  // namespace

std::vector<problem_spec> problems_in(const std::filesystem::path& folder) {
    constexpr double outliers = 100.0;
    std::vector<problem_spec> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        const std::filesystem::path& path = entry.path();
        if (ends_with(path, weights_ending) && std::filesystem::exists(inputs_of(path.string()))) {
            const auto [rows, cols] = npy_shape(path);
            found.push_back({rows, cols, 0.0, path.string(), {}});
        } else if (path.extension() == ".safetensors") {
            const nsvd::safetensors::file file(path);
            for (const std::string& name : file.tensors()) {
                const auto& shape = file.at(name).shape;
                if (shape.size() == 2 && name.ends_with("_proj.weight"))
                    found.push_back({shape[0], shape[1], outliers, path.string(), name});
            }
        }
    }
    std::ranges::sort(found, {}, [](const problem_spec& s) { return s.path + s.tensor; });
    return found;
}

problem read_problem(const problem_spec& spec) {
    if (!spec.tensor.empty()) {
        const nsvd::safetensors::file file(spec.path);
        return {spec, nsvd::safetensors::to_matrix<float>(file.at(spec.tensor)),
                made_up_calibration(spec.cols, spec.outliers)};
    }
    problem result{spec, read_npy(spec.path), nsvd::calibration<float>(spec.cols)};
    result.calib.update(read_npy(inputs_of(spec.path)));
    return result;
}

template <class Scalar>
void write_npy(const std::filesystem::path& path, const dense<Scalar>& matrix) {
    std::string header = std::string("{'descr': '<f") + (sizeof(Scalar) == 4 ? "4" : "8") +
                         "', 'fortran_order': True, 'shape': (" + std::to_string(matrix.rows()) + ", " +
                         std::to_string(matrix.cols()) + "), }";
    // Magic, version, length and header together are a multiple of 64 and end in a newline.
    header.resize((header.size() + 10 + 64) / 64 * 64 - 11, ' ');
    header += '\n';
    std::ofstream file(path, std::ios::binary);
    file << "\x93NUMPY" << '\x01' << '\0' << static_cast<char>(header.size() & 0xffU)
         << static_cast<char>(header.size() >> 8U) << header;
    file.write(reinterpret_cast<const char*>(matrix.data()),
               static_cast<std::streamsize>(matrix.size()) * static_cast<std::streamsize>(sizeof(Scalar)));
    if (!file) throw std::runtime_error(path.string() + ": could not be written");
}

template void write_npy(const std::filesystem::path&, const dense<float>&);
template void write_npy(const std::filesystem::path&, const dense<double>&);

}  // namespace bench
