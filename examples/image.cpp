// SPDX-License-Identifier: MIT
// A picture at several ranks, and with a part of it that counts more; writes image.pgm to look at.
#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

using picture = Eigen::MatrixXf;

// A landscape made of formulas: sky, sun, hills, water, a house. 0 is black, 1 white.
static picture draw_landscape() {
    return picture::NullaryExpr(240, 320, [](Eigen::Index row, Eigen::Index column) {
        const auto x = static_cast<float>(column), y = static_cast<float>(row);
        const float hill = 120 + 22 * std::sin(x / 31) + 9 * std::sin(x / 11 + 1);
        if (x >= 140 && x < 196 && y >= 104 && y < 150)  // house, with windows
            return std::fmod(x, 19.0F) > 9 && std::fmod(y, 17.0F) > 8 ? 0.15F : 0.95F;
        if (y >= 76 && y < 104 && std::abs(x - 168) < (y - 76) * 1.3F) return 0.35F;              // its roof
        if (y > 170) return 0.35F + 0.12F * std::sin(y / 3 + 2 * std::sin(x / 17)) + 0.001F * x;  // water
        if (y > hill) return 0.25F + 0.1F * std::sin(0.7F * x) * std::sin(0.45F * y);             // hills
        if (std::hypot(x - 250, y - 48) < 24) return 1.0F;                                        // sun
        return 0.55F + 0.0015F * y + 0.05F * std::sin(x / 23 + y / 9);                            // sky
    });
}

// Peak signal to noise ratio in decibels, of some columns.
static double decibels(const picture& a, const picture& b, Eigen::Index first, Eigen::Index count) {
    const auto error = (a - b).middleCols(first, count);
    return -10.0 * std::log10(static_cast<double>(error.squaredNorm()) / static_cast<double>(error.size()));
}

int main() {
    const picture original = draw_landscape();
    picture strip(original.rows(), 4 * original.cols());
    strip.leftCols(original.cols()) = original;

    //! [ranks]
    // One decomposition, every rank: 240×320 = 76800 numbers are the picture.
    const nsvd::every_rank all(original);
    std::printf("rank  numbers  whole     house\n");
    double before = 0.0;
    bool good = true;
    Eigen::Index place = 0;
    for (const Eigen::Index k : {4, 8, 16, 32, 64}) {
        const auto d = all.take(k);
        const double db = decibels(original, d.dense(), 0, original.cols());
        std::printf("%4td  %7td  %4.1f dB   %4.1f dB\n", k, d.parameters(), db,
                    decibels(original, d.dense(), 136, 64));
        good = good && db > before;  // more is better
        before = db;
        if (k == 8 || k == 32) strip.middleCols(++place * original.cols(), original.cols()) = d.dense();
    }
    //! [ranks]

    //! [weighted]
    // The 64 columns with the house count nine times as much: M = diag(s²), s = 3 there and 1 elsewhere.
    Eigen::VectorXd s = Eigen::VectorXd::Ones(original.cols());
    s.segment(136, 64).setConstant(3.0);
    const nsvd::metric house(nsvd::diagonal_factor(s), "house");
    const picture eight = nsvd::decompose(original, {{house, 1.0}}, nsvd::rank{8}).dense();
    //! [weighted]
    const double inside = decibels(original, eight, 136, 64), whole = decibels(original, eight, 0, 320);
    std::printf("   8  house counts more: %4.1f dB   %4.1f dB\n", whole, inside);
    good = good && inside > decibels(original, all.take(8).dense(), 136, 64);

    strip.rightCols(original.cols()) = eight;
    std::ofstream file("image.pgm", std::ios::binary);  // original, rank 8, rank 32, rank 8 for the house
    file << "P5\n" << strip.cols() << ' ' << strip.rows() << "\n255\n";
    for (Eigen::Index i = 0; i < strip.rows(); ++i)
        for (Eigen::Index j = 0; j < strip.cols(); ++j)
            file.put(static_cast<char>(std::lround(255 * std::clamp(strip(i, j), 0.0F, 1.0F))));
    return good && file.good() ? 0 : 1;
}
