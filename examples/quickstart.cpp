// SPDX-License-Identifier: MIT
// A layer W and its inputs X in, two small factors out.
#include <nsvd/nsvd.hpp>

#include <iostream>

int main() {
    const Eigen::MatrixXf W = Eigen::MatrixXf::Random(512, 384);  // a layer y = W x
    Eigen::MatrixXf X = Eigen::MatrixXf::Random(384, 2000);       // its inputs, a column a token
    X.topRows(8) *= 30.0F;  // a few channels are large, as in real models

    nsvd::calibration<float> calib(384);
    calib.update(X);                                                                  // any number of times
    const auto d = nsvd::nested(W, calib, nsvd::compression{0.30}, {.share = 0.95});  // remove 30 %

    std::cout << "rank " << d.rank() << ", " << d.parameters() << " numbers instead of " << W.size() << '\n'
              << "error on inputs like X: " << nsvd::weighted_error(W, d, calib) << '\n'
              << "error of the weights:   " << nsvd::plain_error(W, d) << '\n';

    const Eigen::VectorXf y = d * X.col(0);    // left · (right · x), never multiplied back
    return y.size() == d.left.rows() ? 0 : 1;  // d.left is 512×k, d.right k×384
}
