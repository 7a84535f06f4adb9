// SPDX-License-Identifier: MIT
#include "calibrate.hpp"

#include "sample.hpp"
#include "turnstile.hpp"

#include <algorithm>
#include <utility>

namespace llm {

void add_own_text(weighted_windows& all, const model& m, std::uint64_t seed, unsigned threads,
                  const journal& kept, progress& bar, const processes& world) {
    constexpr std::size_t count = 64, longest = 256;
    constexpr const char* entry = "own-text.json";
    const double half = all.weight() / 2;
    const auto length = std::min(longest, all.windows.front().size());
    std::vector<std::vector<token>> written;
    const auto before = kept.find(entry);
    if (!world.any(!before)) {
        written = before->at("windows").get<std::vector<std::vector<token>>>();
    } else {
        bar.expect(count / world.count());
        written = self_written_windows(m, count, length, 1.0, seed, threads, bar, world);
        if (world.is_first()) kept.keep(entry, {{"windows", written}});
    }
    all.add(std::move(written), half);
    all.add(uniform_windows(m, count, length, seed), half);
}

void add_input(nsvd::calibration<float>& inputs, const site& where, const window_pass& pass, double weight) {
    if (pass.input.cols() == 0) return;
    const Eigen::VectorXd weights = weight * pass.input_weights(where);
    inputs.update(pass.input, weights);
}

std::vector<nsvd::calibration<float>> gather_block(const model& m, block_layers own, text_stream& stream,
                                                   nsvd::moments about, unsigned threads, progress& bar) {
    const auto block = stream.block();
    std::vector<nsvd::calibration<float>> sites;
    for (const auto& where : m.block_sites())
        sites.emplace_back(static_cast<Eigen::Index>(m.site_features(m.site_index(block, where))), about);
    turnstile order(sites.size());
    stream.advance(
        threads,
        [&](std::size_t i, window_pass& pass) {
            for (const auto& where : m.block_sites()) {
                m.reach(block, where, own, pass);
                const auto at = model::index_in_block(where);
                order.pass(at, i, [&] { add_input(sites[at], where, pass, stream.weight(i)); });
                m.leave(block, where, own, pass);
            }
            bar.step();
        },
        [&] { order.close(); });
    return sites;
}

std::vector<nsvd::calibration<float>> gather(const model& m, const weighted_windows& all, nsvd::moments about,
                                             unsigned threads, progress& bar) {
    std::vector<nsvd::calibration<float>> sites;
    const journal none;
    text_stream stream(m, all, none, "");
    bar.expect(all.windows.size() * m.shape().blocks);
    for (std::size_t block = 0; block < m.shape().blocks; ++block)
        for (auto& site : gather_block(m, m.block(block), stream, about, threads, bar))
            sites.push_back(std::move(site));
    return sites;
}

std::vector<nsvd::calibration<float>> gather(const model& m, std::span<const token> tokens,
                                             const sampling& sample, const std::string& name,
                                             unsigned threads, progress& bar) {
    return gather(m, draw_text(tokens, sample, name), nsvd::moments::raw, threads, bar);
}

}  // namespace llm
