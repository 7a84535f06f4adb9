// SPDX-License-Identifier: MIT
#include "calibrate.hpp"

#include "sample.hpp"
#include "threads.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace llm {
namespace {

/// Lets the windows update a site in their order. Windows start in order and meet the sites in order, so the
/// first one still on its way never waits, and the others follow close behind it.
class turnstile {
public:
    explicit turnstile(std::size_t sites) : next_(sites, 0) {}

    template <class Update>
    void pass(std::size_t site, std::size_t window, const Update& update) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return next_[site] == window || closed_; });
            if (closed_) return;
        }
        update();
        const std::lock_guard lock(mutex_);
        ++next_[site];
        changed_.notify_all();
    }

    /// Nobody waits any more: for a window that failed.
    void close() {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::size_t> next_;
    bool closed_ = false;
};

}  // namespace

void weighted_windows::add(std::vector<std::vector<token>> more, double weight) {
    std::size_t tokens = 0;
    for (const auto& window : more)
        tokens += window.size();
    for (auto& window : more) {
        windows.push_back(std::move(window));
        weights.push_back(weight / static_cast<double>(tokens));
    }
}

double weighted_windows::weight() const {
    double sum = 0;
    for (std::size_t i = 0; i < windows.size(); ++i)
        sum += weights[i] * static_cast<double>(windows[i].size());
    return sum;
}

std::vector<std::vector<token>> weighted_windows::spread(std::size_t count) const {
    const double step = weight() / static_cast<double>(count);
    std::vector<std::vector<token>> chosen;
    double passed = 0;
    double next = step / 2;
    for (std::size_t i = 0; i < windows.size(); ++i) {
        passed += weights[i] * static_cast<double>(windows[i].size());
        if (passed < next) continue;
        chosen.push_back(windows[i]);
        while (next <= passed)
            next += step;
    }
    return chosen;
}

weighted_windows draw_text(std::span<const token> tokens, const sampling& sample, const std::string& name) {
    const auto list = windows(tokens, sample.context, name);
    weighted_windows result;
    for (const auto i : draw_windows(list.size(), sample.windows, sample.seed)) {
        result.windows.emplace_back(list[i].begin(), list[i].end());
        result.weights.push_back(1);
    }
    return result;
}

void add_own_text(weighted_windows& all, const model& m, std::uint64_t seed, unsigned threads,
                  progress& bar) {
    constexpr std::size_t count = 64, longest = 256;
    const double half = all.weight() / 2;
    const auto length = std::min(longest, all.windows.front().size());
    all.add(self_written_windows(m, count, length, 1.0, seed, threads, bar), half);
    all.add(uniform_windows(m, count, length, seed), half);
}

std::vector<nsvd::calibration<float>> gather(const model& m, const weighted_windows& all, nsvd::moments about,
                                             unsigned threads, progress& bar) {
    std::vector<nsvd::calibration<float>> sites;
    for (std::size_t i = 0; i < m.sites(); ++i)
        sites.emplace_back(static_cast<Eigen::Index>(m.site_features(i)), about);

    turnstile order(sites.size());
    parallel_for(all.windows.size(), threads, [&](std::size_t i) {
        try {
            (void)m.hidden(all.windows[i], [&](std::size_t block, site where, const Eigen::MatrixXf& x) {
                const auto index = model::site_index(block, where);
                const auto weights = Eigen::VectorXd::Constant(x.cols(), all.weights[i]);
                order.pass(index, i, [&] { sites[index].update(x, weights); });
            });
        } catch (...) {
            order.close();
            throw;
        }
        bar.step();
    });
    return sites;
}

std::vector<nsvd::calibration<float>> gather(const model& m, std::span<const token> tokens,
                                             const sampling& sample, const std::string& name,
                                             unsigned threads, progress& bar) {
    return gather(m, draw_text(tokens, sample, name), nsvd::moments::raw, threads, bar);
}

}  // namespace llm
