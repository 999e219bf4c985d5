//! The release of a hold.
