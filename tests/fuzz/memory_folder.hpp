// SPDX-License-Identifier: MIT
// A folder for files whose names matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fuzz {

/// An empty folder of this process, in memory where there is such a place; gone at its end.
class memory_folder {
public:
    memory_folder() {
        const std::filesystem::path memory = "/dev/shm";
        auto name = ((std::filesystem::exists(memory) ? memory : std::filesystem::temp_directory_path()) /
                     "nsvd-fuzz-XXXXXX")
                        .string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    memory_folder(const memory_folder&) = delete;
    memory_folder& operator=(const memory_folder&) = delete;
    ~memory_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    std::filesystem::path write(const std::string& name, std::string_view bytes) const {
        auto file = path_ / name;
        std::ofstream out(file, std::ios::binary | std::ios::trunc);
        if (!out.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush()) std::abort();
        return file;
    }

private:
    std::filesystem::path path_;
};

/// What lies between lines of "%%": several files in one input.
[[nodiscard]] inline std::vector<std::string_view> parts(const std::uint8_t* bytes, std::size_t size) {
    constexpr std::string_view between = "\n%%\n";
    std::string_view rest(reinterpret_cast<const char*>(bytes), size);
    std::vector<std::string_view> all;
    for (auto at = rest.find(between); at != std::string_view::npos; at = rest.find(between)) {
        all.push_back(rest.substr(0, at));
        rest.remove_prefix(at + between.size());
    }
    all.push_back(rest);
    return all;
}

}  // namespace fuzz
