// SPDX-License-Identifier: MIT
#include "unit.hpp"

#include <nsvd/joint.hpp>

namespace llm {

std::vector<unit> units_of(const model& m, bool joint) {
    std::vector<unit> units;
    for (std::size_t i = 0; i < m.layers(); ++i) {
        const auto& layer = m.layer(i);
        if (joint && m.fusible(i) == 0) {
            units.back().layers.push_back(i);
            units.back().shape.rows += layer.rows();
            units.back().name = m.fused_name(units.back().layers.front());
        } else {
            units.push_back({{i}, m.layer_name(i), {layer.rows(), layer.cols()}});
        }
    }
    return units;
}

std::vector<linear> in_memory(block_layers layers) {
    std::vector<linear> loaded;
    for (const auto& layer : layers)
        loaded.push_back(layer.loaded());
    return loaded;
}

Eigen::MatrixXf weight_of(const unit& u, const std::vector<linear>& layers) {
    std::vector<Eigen::MatrixXf> parts;
    for (const auto i : u.layers)
        parts.push_back(layers[i].product());
    return parts.size() == 1 ? std::move(parts.front()) : Eigen::MatrixXf(nsvd::stack_rows(parts));
}

Eigen::VectorXf bias_of(const unit& u, const std::vector<linear>& layers) {
    Eigen::VectorXf bias = Eigen::VectorXf::Zero(u.shape.rows);
    bool any = false;
    Eigen::Index row = 0;
    for (const auto i : u.layers) {
        const auto& own = layers[i].bias();
        if (own.size() != 0) bias.segment(row, own.size()) = own;
        any = any || own.size() != 0;
        row += layers[i].rows();
    }
    return any ? bias : Eigen::VectorXf();
}

}  // namespace llm
