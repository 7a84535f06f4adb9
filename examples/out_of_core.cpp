// SPDX-License-Identifier: MIT
// A layer read from a file, its Gram matrix gathered in another, factors written to a third, within a limit
// of memory.
#include <nsvd/ext/gram_file.hpp>
#include <nsvd/ext/out_of_core.hpp>
#include <nsvd/nsvd.hpp>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace fs = std::filesystem;
namespace st = nsvd::safetensors;

int main() {
    constexpr Eigen::Index m = 96;
    constexpr Eigen::Index n = 1536;
    const fs::path folder = fs::temp_directory_path() / "nsvd_out_of_core";
    fs::create_directories(folder);
    const Eigen::MatrixXf W = Eigen::MatrixXf::Random(m, n);
    st::write(folder / "layer.safetensors",
              std::vector{st::from_matrix("down_proj.weight", st::dtype::BF16, W)});

    //! [gram]
    // The Gram matrix, n×n in double, is 19 MB; of the memory that it is gathered in there are 2.
    nsvd::gram_file gram(folder / "gram.safetensors", n, 2'000'000);
    nsvd::calibration<float> in_memory(n);  // for comparison
    for (int batch = 0; batch < 8; ++batch) {
        const Eigen::MatrixXf X = Eigen::MatrixXf::Random(n, 250);  // a column a token
        gram.update(X);
        in_memory.update(X);
    }
    gram.commit();  // an ordinary calibration file, complete
    //! [gram]
    const auto read_back = nsvd::load_calibration(folder / "gram.safetensors");
    const double difference = (read_back.gram() - in_memory.gram()).norm() / in_memory.gram().norm();

    //! [decompose]
    const st::file layer(folder / "layer.safetensors");  // mapped, not read
    const std::vector<nsvd::out_of_core::stage> stages{{nsvd::stored_gram(folder / "gram.safetensors"), 0.95},
                                                       {nsvd::metric(), 0.05}};
    nsvd::out_of_core::options options;
    options.memory = nsvd::out_of_core::memory_needed(m, n, 1);  // of one metric other than I
    options.scratch = folder;
    st::visit_matrix(layer.at("down_proj.weight"), [&](const auto& w) {
        nsvd::out_of_core::decompose_into(folder / "factors.safetensors", w, stages, nsvd::compression{0.5},
                                          options);
    });
    //! [decompose]

    const st::file file(folder / "factors.safetensors");
    const nsvd::low_rank<float> d{st::to_matrix<float>(file.at("left")),
                                  st::to_matrix<float>(file.at("right"))};
    const Eigen::MatrixXf rounded = st::to_matrix<float>(layer.at("down_proj.weight"));
    const auto expected = nsvd::nested(rounded, in_memory, nsvd::compression{0.5}, {.share = 0.95});
    const double error = nsvd::weighted_error(rounded, d, in_memory);
    std::printf("memory %.1f MB, the Gram matrix has %.1f MB; rank %lld\n",
                static_cast<double>(options.memory) / 1e6, 8e-6 * n * n, static_cast<long long>(d.rank()));
    std::printf("Gram matrices differ by %.1e, error %.4f, in memory %.4f\n", difference, error,
                nsvd::weighted_error(rounded, expected, in_memory));
    fs::remove_all(folder);
    return difference < 1e-14 && std::abs(error - nsvd::weighted_error(rounded, expected, in_memory)) < 1e-6
               ? 0
               : 1;
}
