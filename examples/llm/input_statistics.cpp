// SPDX-License-Identifier: MIT
#include "input_statistics.hpp"

#include "calibrate.hpp"
#include "unit.hpp"

#include <utility>

namespace llm {

statistics_of_text::statistics_of_text(const model& m, const std::vector<linear>& layers,
                                       const weighted_windows& windows, nsvd::moments about,
                                       const journal& kept, std::string name, unsigned threads, progress& bar)
    : model_(m),
      layers_(layers),
      stream_(m, windows, kept, std::move(name)),
      about_(about),
      threads_(threads),
      bar_(bar) {
    // A run before this one may have left the stream further on.
    stream_.rewind(m.shape().blocks);
}

block_statistics statistics_of_text::gather(std::size_t block) {
    if (stream_.block() > block) stream_.rewind(block);
    const auto own = [&](std::size_t i) { return in_memory(block_of(layers_, i, model_)); };
    bar_.expect(stream_.size() * (block + 1 - stream_.block()));
    while (stream_.block() < block) {
        const auto layers = own(stream_.block());
        const auto at = stream_.block();
        stream_.advance(threads_, [&](std::size_t, window_pass& pass) {
            model_.pass_through(at, layers, pass);
            bar_.step();
        });
    }
    return gather_block(model_, own(block), stream_, about_, threads_, bar_);
}

block_statistics distributed_statistics::gather(std::size_t block) {
    auto sites = mine_->gather(block);
    for (std::size_t i = 0; i < sites.size(); ++i) {
        const auto owners = owners_(block, model_.block_sites()[i]);
        const bool mine = world_.is_among(owners);
        if (are_ == parts::shares && !owners.empty()) world_.reduce(sites[i], owners);
        // One of a single feature: those of the others may be large.
        if (!mine) sites[i] = nsvd::calibration<float>(1, sites[i].about());
    }
    return sites;
}

const block_statistics& input_statistics::block(std::size_t block) {
    const auto found = found_.find(block);
    if (found != found_.end()) return found->second;
    if (keep_ == memory::one_block) found_.clear();
    return found_.emplace(block, source_->gather(block)).first->second;
}

block_statistics merged_statistics::gather(std::size_t block) {
    auto sum = first_.block(block);
    const auto& more = second_.block(block);
    for (std::size_t i = 0; i < sum.size(); ++i)
        sum[i].merge(more[i]);
    return sum;
}

}  // namespace llm
