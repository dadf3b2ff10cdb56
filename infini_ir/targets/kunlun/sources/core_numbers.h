// Arithmetic of one element, by its type: 16-bit floats in float, integers wrapping.
#pragma once

#define INFINI_FLOAT(name, expression)                                            \
  INFINI_DEVICE float name(float a, float b) { return expression; }               \
  INFINI_DEVICE half_t name(half_t a, half_t b) {                                 \
    return narrow<half_t>(name(widen(a), widen(b)));                              \
  }                                                                               \
  INFINI_DEVICE bf16_t name(bf16_t a, bf16_t b) {                                 \
    return narrow<bf16_t>(name(widen(a), widen(b)));                              \
  }
INFINI_FLOAT(sum_of, a + b)
INFINI_FLOAT(difference_of, a - b)
INFINI_FLOAT(product_of, a* b)
INFINI_FLOAT(quotient_of, a / b)
INFINI_FLOAT(larger_of, larger_number(a, b))
INFINI_FLOAT(smaller_of, smaller_number(a, b))
#undef INFINI_FLOAT

template <class T>
INFINI_DEVICE T sum_of(T a, T b) { return wrapped_sum<T>(a, b); }
template <class T>
INFINI_DEVICE T difference_of(T a, T b) { return wrapped_difference<T>(a, b); }
template <class T>
INFINI_DEVICE T product_of(T a, T b) { return wrapped_product<T>(a, b); }
template <class T>
INFINI_DEVICE T larger_of(T a, T b) { return larger_integer<T>(a, b); }
template <class T>
INFINI_DEVICE T smaller_of(T a, T b) { return smaller_integer<T>(a, b); }

// Something to compare: floats as float, integers as they are.
template <class T>
INFINI_DEVICE T number(T value) { return value; }
INFINI_DEVICE float number(half_t value) { return widen(value); }
INFINI_DEVICE float number(bf16_t value) { return widen(value); }
