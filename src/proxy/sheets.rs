//! Room to write heads in and to read them from, lent by a pool of the worker: a request needs some of it for
//! moments, several times, and by the next one it is used again.

use std::cell::RefCell;
use std::rc::Rc;

use super::http1::Field;

/// Sheets that are kept for the next.
const KEPT: usize = 256;
/// Bytes of a sheet that is kept: nearly all heads are shorter, and one that was not is not to be paid for ever.
const KEPT_BYTES: usize = 4 * 1024;
/// Fields of a sheet that is kept.
const KEPT_FIELDS: usize = 128;
/// Bytes that a new sheet has room for.
const BYTES: usize = 1024;
/// Fields that a new sheet has room for.
const FIELDS: usize = 24;

/// A worker's spare sheets.
#[derive(Debug, Default)]
pub struct Sheets(RefCell<Vec<(Vec<u8>, Vec<Field>)>>);

/// The bytes of a head, and where its fields lie in them. Given back to the pool when it is dropped.
#[derive(Debug)]
pub struct Sheet {
    /// What is written; empty at first.
    pub bytes: Vec<u8>,
    /// What was read in it; empty at first.
    pub fields: Vec<Field>,
    pool: Rc<Sheets>,
}

impl Sheet {
    /// An empty one.
    pub fn new(pool: &Rc<Sheets>) -> Self {
        let spare = pool.0.borrow_mut().pop();
        let (bytes, fields) =
            spare.unwrap_or_else(|| (Vec::with_capacity(BYTES), Vec::with_capacity(FIELDS)));
        Self {
            bytes,
            fields,
            pool: Rc::clone(pool),
        }
    }
}

impl Drop for Sheet {
    fn drop(&mut self) {
        let (bytes, fields) = (&mut self.bytes, &mut self.fields);
        let mut kept = self.pool.0.borrow_mut();
        let size = bytes.capacity();
        // One whose bytes were taken away is not worth it.
        if (BYTES..=KEPT_BYTES).contains(&size)
            && fields.capacity() <= KEPT_FIELDS
            && kept.len() < KEPT
        {
            bytes.clear();
            fields.clear();
            kept.push((std::mem::take(bytes), std::mem::take(fields)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Limits;
    use crate::proxy::http1::{HeadLimits, parse_request};

    #[test]
    fn a_sheet_is_used_again_and_is_empty_then() {
        let pool = Rc::new(Sheets::default());
        let mut first = Sheet::new(&pool);
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        first.bytes.extend_from_slice(head);
        let limits = HeadLimits::from(&Limits::default());
        let read = parse_request(head, &limits, &mut first.fields);
        assert!(read.unwrap().is_some() && first.fields.len() == 1);
        let at = first.bytes.as_ptr();
        drop(first);
        let again = Sheet::new(&pool);
        assert_eq!((again.bytes.as_ptr(), again.bytes.len()), (at, 0));
        assert!(again.fields.is_empty() && pool.0.borrow().is_empty());
    }

    #[test]
    fn what_grew_large_or_was_taken_away_is_not_kept() {
        let pool = Rc::new(Sheets::default());
        let mut large = Sheet::new(&pool);
        large.bytes.resize(KEPT_BYTES + 1, 0);
        drop(large);
        let mut taken = Sheet::new(&pool);
        taken.bytes = Vec::new();
        drop(taken);
        assert!(pool.0.borrow().is_empty());
        let all: Vec<_> = (0..=KEPT).map(|_| Sheet::new(&pool)).collect();
        drop(all);
        assert_eq!(pool.0.borrow().len(), KEPT);
    }
}
