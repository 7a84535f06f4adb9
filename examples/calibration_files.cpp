// SPDX-License-Identifier: MIT
// Statistics gathered by several processes: saved, added, gone on with. Three files give what one run gives.
#include <nsvd/ext/calibration_file.hpp>
#include <nsvd/nsvd.hpp>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace fs = std::filesystem;

int main() {
    constexpr Eigen::Index n = 128;
    const Eigen::MatrixXf W = Eigen::MatrixXf::Random(192, n);
    const fs::path folder = fs::temp_directory_path() / "nsvd_calibration_files";
    fs::create_directories(folder);

    //! [save]
    // Each process has its own part of the text, and writes a file.
    nsvd::calibration<float> whole(n);  // what a single process would have
    std::vector<fs::path> files;
    for (const int process : {0, 1, 2}) {
        nsvd::calibration<float> part(n);
        for (int batch = 0; batch < 4; ++batch) {
            const Eigen::MatrixXf X = Eigen::MatrixXf::Random(n, 250);  // a column a token
            part.update(X);
            whole.update(X);
        }
        files.push_back(folder / ("part-" + std::to_string(process) + ".safetensors"));
        nsvd::save_calibration(files.back(), part);  // the file appears complete, or not at all
    }
    //! [save]

    //! [merge]
    auto sum = nsvd::load_calibration(files.front());
    for (std::size_t i = 1; i < files.size(); ++i)
        sum.merge(nsvd::load_calibration(files[i]));
    //! [merge]

    //! [resume]
    // Another day, more text: padding (false in the mask) is not looked at.
    const Eigen::MatrixXf more = Eigen::MatrixXf::Random(n, 100);
    std::vector<bool> is_text(100, true);
    for (std::size_t t = 80; t < 100; ++t)
        is_text[t] = false;
    sum.update(more, is_text);
    nsvd::save_calibration(folder / "sum.safetensors", sum);
    //! [resume]
    whole.update(more.leftCols(80));

    const auto loaded = nsvd::load_calibration(folder / "sum.safetensors");
    const double difference = (loaded.gram() - whole.gram()).norm() / whole.gram().norm();
    const auto a = nsvd::asvd(W, loaded, nsvd::compression{0.30});
    std::printf("%lld tokens, Gram matrices differ by %.1e, error %.4f\n",
                static_cast<long long>(loaded.tokens()), difference, nsvd::weighted_error(W, a, whole));
    fs::remove_all(folder);
    return loaded.tokens() == 3080 && whole.tokens() == 3080 && difference < 1e-14 ? 0 : 1;
}
