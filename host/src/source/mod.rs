//! A queue we consume.
