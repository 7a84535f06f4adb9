// SPDX-License-Identifier: MIT
#include "memory_faults.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

// NOLINTBEGIN(bugprone-reserved-identifier): names of the linker's
extern "C" void* __real_malloc(std::size_t size);
extern "C" void* __real_realloc(void* block, std::size_t size);
extern "C" void* __wrap_malloc(std::size_t size);
extern "C" void* __wrap_realloc(void* block, std::size_t size);

namespace support {

namespace {
thread_local memory_faults* active = nullptr;
}

memory_faults::memory_faults(long first, which failing) : first_(first), failing_(failing) {
    active = this;
}
memory_faults::~memory_faults() {
    active = nullptr;
}

bool memory_faults::fails() noexcept {
    if (active == nullptr) return false;
    const long number = active->count_++;
    const bool failing =
        active->first_ >= 0 &&
        (active->failing_ == which::this_one ? number == active->first_ : number >= active->first_);
    active->any_failed_ = active->any_failed_ || failing;
    return failing;
}

}  // namespace support

extern "C" void* __wrap_malloc(std::size_t size) {
    return support::memory_faults::fails() ? nullptr : __real_malloc(size);
}
extern "C" void* __wrap_realloc(void* block, std::size_t size) {
    return support::memory_faults::fails() ? nullptr : __real_realloc(block, size);
}
// NOLINTEND(bugprone-reserved-identifier)

void* operator new(std::size_t size) {
    if (void* const block = std::malloc(size == 0 ? 1 : size)) return block;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    const auto unit = static_cast<std::size_t>(alignment);
    void* const block =
        support::memory_faults::fails() ? nullptr : std::aligned_alloc(unit, (size + unit - 1) / unit * unit);
    if (block == nullptr) throw std::bad_alloc();
    return block;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size) {
    return operator new(size);
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return operator new(size, alignment);
}
void operator delete(void* block) noexcept {
    std::free(block);
}
void operator delete[](void* block) noexcept {
    std::free(block);
}
void operator delete(void* block, std::size_t) noexcept {
    std::free(block);
}
void operator delete[](void* block, std::size_t) noexcept {
    std::free(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
    std::free(block);
}
void operator delete[](void* block, std::align_val_t) noexcept {
    std::free(block);
}
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
    std::free(block);
}
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept {
    std::free(block);
}
