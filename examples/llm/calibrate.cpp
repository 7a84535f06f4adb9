// SPDX-License-Identifier: MIT
#include "calibrate.hpp"

#include "threads.hpp"

#include <condition_variable>
#include <mutex>

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

std::vector<nsvd::calibration<float>> gather(const model& m, std::span<const token> tokens,
                                             const sampling& sample, const std::string& name,
                                             unsigned threads, progress& bar) {
    const auto list = windows(tokens, sample.context, name);
    const auto drawn = draw_windows(list.size(), sample.windows, sample.seed);
    std::vector<nsvd::calibration<float>> sites;
    for (std::size_t i = 0; i < m.sites(); ++i)
        sites.emplace_back(static_cast<Eigen::Index>(m.site_features(i)));

    turnstile order(sites.size());
    parallel_for(drawn.size(), threads, [&](std::size_t i) {
        try {
            (void)m.hidden(list[drawn[i]], [&](std::size_t block, site where, const Eigen::MatrixXf& x) {
                const auto index = model::site_index(block, where);
                order.pass(index, i, [&] { sites[index].update(x); });
            });
        } catch (...) {
            order.close();
            throw;
        }
        bar.step();
    });
    return sites;
}

}  // namespace llm
