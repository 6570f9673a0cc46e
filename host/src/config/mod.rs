//! What was asked for: settings from flags, environment and files, in one typed value.
