//! Buffers borrowed while bytes move, so that an idle session holds none.
//!
//! One shelf per thread: no lock on the way of a query. A buffer that grew is not kept.

use std::cell::RefCell;

use crate::client::relay::Buffers;
use crate::limits;
use crate::sql::LocalCache;

thread_local! {
    static SHELF: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static SHAPES: RefCell<Option<LocalCache>> = const { RefCell::new(None) };
}

/// Borrows an empty buffer of at least [`limits::SLAB_BYTES`].
#[must_use]
pub fn borrow() -> Vec<u8> {
    SHELF.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(limits::SLAB_BYTES))
}

/// Gives one back.
pub fn give_back(mut slab: Vec<u8>) {
    if slab.capacity() < limits::SLAB_BYTES || slab.capacity() > limits::SLAB_KEPT_BYTES_MAX {
        return;
    }
    slab.clear();
    SHELF.with_borrow_mut(|shelf| {
        if shelf.len() < limits::SLABS_KEPT_PER_THREAD {
            shelf.push(slab);
        }
    });
}

/// Borrows what one exchange needs.
#[must_use]
pub fn borrow_buffers() -> Buffers {
    Buffers { flight: Vec::new(), inbound: borrow(), out: borrow() }
}

/// Gives that back.
pub fn give_back_buffers(buffers: Buffers) {
    give_back(buffers.inbound);
    give_back(buffers.out);
}

/// The shapes of statements that this thread has seen.
pub fn with_shapes<T>(look: impl FnOnce(&mut LocalCache) -> T) -> T {
    SHAPES.with_borrow_mut(|shapes| look(shapes.get_or_insert_with(LocalCache::default)))
}
