//! The drain of one endpoint.
