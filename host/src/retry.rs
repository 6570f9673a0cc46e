//! Decides what becomes of a run that failed.
