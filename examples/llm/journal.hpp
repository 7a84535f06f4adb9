// SPDX-License-Identifier: MIT
/// What a long run has finished, in a folder: started again, it goes on from there.
#pragma once

#include "files.hpp"
#include "processes.hpp"

#include <nsvd/ext/checksum.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>

namespace llm {

/// Where a run keeps what is to become `target`: the folder `TARGET.partial` beside it, links followed.
[[nodiscard]] std::filesystem::path partial_folder(const std::filesystem::path& target);

/// Whether two descriptions of jobs say the same.
[[nodiscard]] bool same_job(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b);

/// The partial folder of what a run is to write. Every entry is a file that is complete or not there. A
/// default-constructed journal keeps nothing. One run at a time.
class journal {
public:
    journal() = default;
    /// `job` is everything that the result depends on. A folder left by the same job is gone on with. Throws
    /// nsvd::error for results that another job has left there, unless `restart` discards them, and for one
    /// that another process works in.
    journal(const std::filesystem::path& target, const nlohmann::ordered_json& job, bool restart);
    /// The same for several processes at once, the first of which holds it for all; collective.
    journal(const std::filesystem::path& target, const nlohmann::ordered_json& job, bool restart,
            const processes& world);
    journal(const journal&) = delete;
    journal& operator=(const journal&) = delete;
    ~journal();

    [[nodiscard]] bool keeps() const { return !folder_.empty(); }
    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
    [[nodiscard]] const nlohmann::ordered_json& job() const { return job_; }
    /// To go on with: begun with the job, so that no entry is taken for one of another job.
    [[nodiscard]] nsvd::checksum sum() const { return sum_; }
    /// Where entry `name` lies. Throws like `check_own`.
    [[nodiscard]] std::filesystem::path path(const std::string& name) const;
    [[nodiscard]] bool has(const std::string& name) const;
    /// Throws nsvd::error where the folder is no longer that which was locked: what is there, if anything,
    /// may be another process's.
    void check_own() const;

    /// What was kept under this name.
    [[nodiscard]] std::optional<nlohmann::ordered_json> find(const std::string& name) const;
    void keep(const std::string& name, const nlohmann::ordered_json& entry) const;

    /// Removes the folder: the result has its name. Of several processes, the first does.
    void finish();

private:
    void open(bool restart);
    void lock();
    [[nodiscard]] bool has_lock(int descriptor) const;
    void clear() const;
    [[nodiscard]] std::string sum_of(const nlohmann::ordered_json& entry) const;
    void remove_folder();

    std::filesystem::path folder_;
    nlohmann::ordered_json job_;
    nsvd::checksum sum_;
    int lock_ = -1;
};

}  // namespace llm
