//! What a route does with its requests beside sending them somewhere. Pure: used where a destination is
//! looked for, and where heads are written for the next hop, for any version of HTTP.

mod redirect;

pub use redirect::{Origin, location};

use crate::model::{Filters, Rewrite};

/// The filters of the route that a request fits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filtered<'a> {
    /// What is to be done.
    pub filters: &'a Filters,
    /// Bytes of the request's path that the route's prefix matched.
    pub prefix: usize,
    /// The request's key for the mirror's Backend, where there is one that goes by keys.
    pub mirror_key: u64,
}

impl<'a> Filtered<'a> {
    /// What endpoints get for host and path, and the bytes of the path that were matched.
    pub fn rewrite(self) -> Option<(&'a Rewrite, usize)> {
        let rewrite = self.filters.rewrite.as_ref()?;
        Some((rewrite, self.prefix))
    }
}
