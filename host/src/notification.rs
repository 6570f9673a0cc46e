//! What CKAN said, read from a body.
