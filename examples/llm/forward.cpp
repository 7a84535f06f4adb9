// SPDX-License-Identifier: MIT
#include "model.hpp"

#include <algorithm>
#include <cmath>

namespace llm {
namespace {

using Eigen::Index;
using Eigen::MatrixXf;
using Eigen::VectorXf;

/// x / √(mean(x²) + eps) · weight for every column; the mean in double, for outlier channels.
MatrixXf rms_norm(const MatrixXf& x, const VectorXf& weight, double eps) {
    MatrixXf result(x.rows(), x.cols());
    for (Index t = 0; t < x.cols(); ++t) {
        const double mean = x.col(t).cast<double>().squaredNorm() / static_cast<double>(x.rows());
        result.col(t) = x.col(t).cwiseProduct(weight) * static_cast<float>(1 / std::sqrt(mean + eps));
    }
    return result;
}

/// cos (first half of the rows) and sin (second half) of position·theta^(−2i/d), i < d/2; d × positions.
MatrixXf rotation_table(std::size_t head_dim, Index positions, double theta) {
    const auto half = static_cast<Index>(head_dim / 2);
    MatrixXf table(2 * half, positions);
    for (Index i = 0; i < half; ++i) {
        const double frequency = std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
        for (Index t = 0; t < positions; ++t) {
            table(i, t) = static_cast<float>(std::cos(static_cast<double>(t) * frequency));
            table(half + i, t) = static_cast<float>(std::sin(static_cast<double>(t) * frequency));
        }
    }
    return table;
}

/// Rotary positions in place, in Hugging Face's convention: row i of a head is paired with row i + d/2.
void rotate(MatrixXf& x, const MatrixXf& table) {
    const Index half = table.rows() / 2;
    const auto cosine = table.topRows(half).array();
    const auto sine = table.bottomRows(half).array();
    for (Index head = 0; head < x.rows(); head += 2 * half) {
        auto first = x.middleRows(head, half).array();
        auto second = x.middleRows(head + half, half).array();
        const Eigen::ArrayXXf old = first;
        first = old * cosine - second * sine;
        second = second * cosine + old * sine;
    }
}

/// Softmax of a column in place.
template <class Column>
void softmax(Column&& scores) {
    scores = (scores.array() - scores.maxCoeff()).exp();
    scores /= scores.sum();
}

MatrixXf silu_times(const MatrixXf& gate, const MatrixXf& up) {
    return gate.array() / (1 + (-gate.array()).exp()) * up.array();
}

}  // namespace

MatrixXf model::attention(std::size_t block, const MatrixXf& x, const MatrixXf& rotation) const {
    constexpr Index queries = 64;  // in one step: keeps the scores small, and skips most of the masked half
    const auto dim = static_cast<Index>(config_.head_dim);
    const auto group = static_cast<Index>(config_.heads / config_.key_value_heads);
    MatrixXf q = layer(block, projection::q).apply(x);
    MatrixXf k = layer(block, projection::k).apply(x);
    const MatrixXf v = layer(block, projection::v).apply(x);
    rotate(q, rotation);
    rotate(k, rotation);
    q *= 1 / std::sqrt(static_cast<float>(dim));

    MatrixXf result(q.rows(), q.cols());
    MatrixXf scores;
    for (Index head = 0; head * dim < q.rows(); ++head) {
        const auto keys = k.middleRows(head / group * dim, dim);
        const auto values = v.middleRows(head / group * dim, dim);
        for (Index begin = 0; begin < q.cols(); begin += queries) {
            const Index count = std::min(queries, q.cols() - begin);
            const Index seen = begin + count;
            scores.noalias() = keys.leftCols(seen).transpose() * q.block(head * dim, begin, dim, count);
            for (Index t = 0; t < count; ++t) {
                softmax(scores.col(t).head(begin + t + 1));
                scores.col(t).tail(count - t - 1).setZero();
            }
            result.block(head * dim, begin, dim, count).noalias() = values.leftCols(seen) * scores;
        }
    }
    return result;
}

MatrixXf model::hidden(std::span<const token> window, const observer& observe) const {
    const auto length = static_cast<Index>(window.size());
    const auto rotation = rotation_table(config_.head_dim, length, config_.rope_theta);
    MatrixXf x(embedding_.cols(), length);
    for (Index t = 0; t < length; ++t)
        x.col(t) = embedding_.row(static_cast<Index>(window[static_cast<std::size_t>(t)])).transpose();

    for (std::size_t block = 0; block < config_.blocks; ++block) {
        const auto input = [&](site where, MatrixXf values) {
            if (observe) observe(block, where, values);
            return values;
        };
        const auto apply = [&](projection which, const MatrixXf& values) {
            return layer(block, which).apply(values);
        };
        const auto normed =
            input(site::attention, rms_norm(x, norms_[block].attention, config_.rms_norm_eps));
        const auto mixed = input(site::attention_output, attention(block, normed, rotation));
        x += apply(projection::o, mixed);

        const auto fed =
            input(site::feed_forward, rms_norm(x, norms_[block].feed_forward, config_.rms_norm_eps));
        const auto gated = input(site::feed_forward_output,
                                 silu_times(apply(projection::gate, fed), apply(projection::up, fed)));
        x += apply(projection::down, gated);
    }
    return rms_norm(x, last_norm_, config_.rms_norm_eps);
}

MatrixXf model::logits(const Eigen::Ref<const MatrixXf>& hidden) const {
    return (head_ ? *head_ : embedding_) * hidden;
}

}  // namespace llm
