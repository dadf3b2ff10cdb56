// Functions of floats: the C library's.
#pragma once

#include <cmath>
