// half and bfloat16_t: storage types that convert exactly and round to nearest even.
//
// Source: IEEE 754 binary16; bfloat16 is the upper half of binary32. On the cores they are
// types of memory and of vector lanes; scalar code converts them to float.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

struct half {
    uint16_t bits = 0;

    half() = default;
    half(float value) {
        _Float16 rounded = static_cast<_Float16>(value);
        std::memcpy(&bits, &rounded, sizeof(bits));
    }
    half(double value) : half(static_cast<float>(value)) {}
    half(int value) : half(static_cast<float>(value)) {}
    operator float() const {
        _Float16 held;
        std::memcpy(&held, &bits, sizeof(bits));
        return static_cast<float>(held);
    }
};

struct bfloat16_t {
    uint16_t bits = 0;

    bfloat16_t() = default;
    bfloat16_t(float value) {
        uint32_t word;
        std::memcpy(&word, &value, sizeof(word));
        if (std::isnan(value)) {
            bits = static_cast<uint16_t>((word >> 16) | 0x40);
        } else {
            bits = static_cast<uint16_t>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
        }
    }
    operator float() const {
        uint32_t word = static_cast<uint32_t>(bits) << 16;
        float value;
        std::memcpy(&value, &word, sizeof(value));
        return value;
    }
};
