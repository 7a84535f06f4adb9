// SPDX-License-Identifier: MIT
/// The statistics of the inputs of a model's linear layers, block by block.
#pragma once

#include "model.hpp"
#include "processes.hpp"
#include "progress.hpp"
#include "stream.hpp"

#include <nsvd/calibration.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace llm {

/// Calibrations of the sites of a block.
using block_statistics = std::vector<nsvd::calibration<float>>;

/// Where they come from; asked for blocks in any order, though ascending is cheapest.
class statistics_source {
public:
    statistics_source() = default;
    statistics_source(const statistics_source&) = delete;
    statistics_source& operator=(const statistics_source&) = delete;
    virtual ~statistics_source() = default;
    [[nodiscard]] virtual block_statistics gather(std::size_t block) = 0;
};

/// Gathered while text passes through `layers`, the dense ones of the model.
class statistics_of_text final : public statistics_source {
public:
    /// What is given by reference has to stay as long as this.
    statistics_of_text(const model& m, const std::vector<linear>& layers, const weighted_windows& windows,
                       nsvd::moments about, const journal& kept, std::string name, unsigned threads,
                       progress& bar);
    [[nodiscard]] block_statistics gather(std::size_t block) override;

private:
    const model& model_;
    const std::vector<linear>& layers_;
    text_stream stream_;
    nsvd::moments about_;
    unsigned threads_;
    progress& bar_;
};

/// Which processes need the statistics of a site of a block.
using site_owners = std::function<std::vector<int>(std::size_t block, const site& where)>;

/// Statistics of several processes: only the owners of a site have those, the others one without tokens.
class distributed_statistics final : public statistics_source {
public:
    enum class parts : std::uint8_t {
        shares,  ///< each has those of its share of the text: they are added up, in a fixed order
        whole,   ///< each has all of them
    };
    distributed_statistics(std::unique_ptr<statistics_source> mine, parts are, const model& m,
                           const processes& world, site_owners owners)
        : mine_(std::move(mine)), are_(are), model_(m), world_(world), owners_(std::move(owners)) {}
    [[nodiscard]] block_statistics gather(std::size_t block) override;

private:
    std::unique_ptr<statistics_source> mine_;
    parts are_;
    const model& model_;
    const processes& world_;
    site_owners owners_;
};

/// The statistics of a model's blocks: all that were asked for stay in memory, or the last alone.
class input_statistics {
public:
    enum class memory : std::uint8_t { all, one_block };

    input_statistics(std::unique_ptr<statistics_source> source, memory keep)
        : source_(std::move(source)), keep_(keep) {}

    /// Stays until another block is asked for, or for good.
    [[nodiscard]] const block_statistics& block(std::size_t block);

private:
    std::unique_ptr<statistics_source> source_;
    memory keep_;
    std::map<std::size_t, block_statistics> found_;
};

/// The sum of two: a token counts in it what it does in either.
class merged_statistics final : public statistics_source {
public:
    merged_statistics(input_statistics& first, input_statistics& second) : first_(first), second_(second) {}
    [[nodiscard]] block_statistics gather(std::size_t block) override;

private:
    input_statistics &first_, &second_;
};

}  // namespace llm
