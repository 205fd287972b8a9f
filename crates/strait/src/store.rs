//! The memory of rows that are kept: one budget for all sets of a laboratory, and for all workers beside each other.
//!
//! Results do not depend on the budget: what has no room is computed anew in the batches in which it would have been kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use candle_core::Tensor;

/// A worker's part in a budget that it shares with others. Sets that none of them uses make room for those that are asked for,
/// the least recently used first.
///
/// ```
/// use strait::store::Store;
///
/// let store = Store::new(100);
/// let (first, pieces) = store.room(&[40, 40, 40]);
/// assert_eq!((pieces, store.held()), (2, 80));
/// // The first set is in use until its worker begins another step.
/// assert_eq!(store.beside().room(&[40]).1, 0);
/// store.begin_step();
/// assert_eq!(store.beside().room(&[40]).1, 1);
/// assert!(first.tensors().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    shelf: Arc<Mutex<Shelf>>,
    worker: usize,
}

#[derive(Debug)]
struct Shelf {
    /// Bytes that all sets may take together.
    limit: u64,
    /// Steps that each worker has begun.
    begun: Vec<u64>,
    /// Goes on with every use of a set.
    clock: u64,
    sets: BTreeMap<u64, Set>,
}

/// The kept tensors of a set of rows.
#[derive(Debug)]
struct Set {
    bytes: u64,
    tensors: Vec<Tensor>,
    worker: usize,
    /// The step of its worker in which it was used last, and when that was.
    step: u64,
    used: u64,
}

/// The room that a set has in a store, until it is dropped or the set is evicted.
#[derive(Debug)]
pub struct Room {
    store: Store,
    set: u64,
}

impl Store {
    /// A store of so many bytes.
    pub fn new(limit: u64) -> Self {
        let shelf = Shelf { limit, begun: vec![0], clock: 0, sets: BTreeMap::new() };
        Self { shelf: Arc::new(Mutex::new(shelf)), worker: 0 }
    }

    /// From now on all sets may take so many bytes together. Sets that are in use stay as they are.
    pub fn limit(&self, bytes: u64) {
        let mut shelf = self.shelf();
        shelf.limit = bytes;
        shelf.evict_for(0);
    }

    /// The same budget for another worker.
    pub fn beside(&self) -> Self {
        let mut shelf = self.shelf();
        shelf.begun.push(0);
        Self { shelf: Arc::clone(&self.shelf), worker: shelf.begun.len() - 1 }
    }

    /// Begins a step of this worker: the sets that it used before are in use no longer, and may be evicted.
    pub fn begin_step(&self) {
        self.shelf().begun[self.worker] += 1;
    }

    /// Room for the first of some pieces of so many bytes each, and how many of them have room. Sets that are not in use are
    /// evicted for it, as far as need be.
    pub fn room(&self, pieces: &[u64]) -> (Room, usize) {
        let mut shelf = self.shelf();
        shelf.evict_for(pieces.iter().fold(0, |sum: u64, piece| sum.saturating_add(*piece)));
        let free = shelf.limit.saturating_sub(shelf.held());
        let (mut count, mut bytes) = (0, 0_u64);
        for piece in pieces {
            match bytes.checked_add(*piece).filter(|sum| *sum <= free) {
                Some(sum) => (count, bytes) = (count + 1, sum),
                None => break,
            }
        }
        shelf.clock += 1;
        let (set, used, step) = (shelf.clock, shelf.clock, shelf.begun[self.worker]);
        shelf.sets.insert(set, Set { bytes, tensors: Vec::new(), worker: self.worker, step, used });
        (Room { store: self.clone(), set }, count)
    }

    /// Bytes that all sets take now.
    pub fn held(&self) -> u64 {
        self.shelf().held()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn held(&self) -> u64 {
        self.sets.values().map(|set| set.bytes).sum()
    }

    /// Evicts sets that are not in use until there are so many bytes, or none is left.
    fn evict_for(&mut self, bytes: u64) {
        while self.held().saturating_add(bytes) > self.limit {
            let idle =
                self.sets.iter().filter(|(_, set)| set.step != self.begun[set.worker] && set.bytes > 0);
            let Some((&oldest, _)) = idle.min_by_key(|(_, set)| set.used) else { return };
            self.sets.remove(&oldest);
        }
    }
}

impl Room {
    /// Puts what is kept into the room.
    pub fn fill(&self, tensors: Vec<Tensor>) {
        if let Some(set) = self.store.shelf().sets.get_mut(&self.set) {
            set.tensors = tensors;
        }
    }

    /// The kept tensors, which are in use from now on; none where they have been evicted, or nothing was put there.
    pub fn tensors(&self) -> Option<Vec<Tensor>> {
        let mut shelf = self.store.shelf();
        shelf.clock += 1;
        let (used, step) = (shelf.clock, shelf.begun[self.store.worker]);
        let set = shelf.sets.get_mut(&self.set)?;
        (set.used, set.step) = (used, step);
        (!set.tensors.is_empty()).then(|| set.tensors.clone())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.store.shelf().sets.remove(&self.set);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;

    fn filled(store: &Store, bytes: u64) -> Room {
        let (room, count) = store.room(&[bytes]);
        assert_eq!(count, 1);
        room.fill(vec![Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu).unwrap()]);
        room
    }

    #[test]
    fn the_set_that_was_used_longest_ago_makes_room() {
        let store = Store::new(30);
        let sets = [10, 10, 10].map(|bytes| filled(&store, bytes));
        store.begin_step();
        // Used in this step, and so in use.
        assert!(sets[0].tensors().is_some());
        let another = filled(&store, 10);
        assert!(sets[1].tensors().is_none());
        assert!(sets[2].tensors().is_some() && sets[0].tensors().is_some() && another.tensors().is_some());
        assert_eq!(store.room(&[10]).1, 0);
        drop(sets);
        assert_eq!(store.held(), 10);
    }

    #[test]
    fn a_smaller_limit_evicts_what_is_not_in_use() {
        let store = Store::new(u64::MAX);
        let before = filled(&store, u64::MAX / 2);
        store.begin_step();
        let now = filled(&store, 10);
        store.limit(5);
        assert!(before.tensors().is_none() && now.tensors().is_some());
        assert_eq!(store.room(&[1]).1, 0);
    }

    /// A call to a store.
    #[derive(Clone, Debug)]
    enum Event {
        Ask(usize, Vec<u64>),
        Use(usize),
        Drop(usize),
        Begin(usize),
        Limit(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..3_usize, prop::collection::vec(0..60_u64, 1..5)).prop_map(|(w, p)| Event::Ask(w, p)),
            2 => any::<prop::sample::Index>().prop_map(|i| Event::Use(i.index(50))),
            1 => any::<prop::sample::Index>().prop_map(|i| Event::Drop(i.index(50))),
            2 => (0..3_usize).prop_map(Event::Begin),
            1 => (0..200_u64).prop_map(Event::Limit),
        ]
    }

    proptest! {
        /// Whatever is asked for in whatever order: what is held is what rooms that were not evicted hold, it is within the
        /// limit unless the limit fell below what is in use, and nothing that is in use is evicted.
        #[test]
        fn the_sum_of_what_is_kept_stays_within_the_limit(events in prop::collection::vec(event(), 1..60)) {
            let first = Store::new(100);
            let workers = [first.clone(), first.beside(), first.beside()];
            let mut limit = 100;
            let mut rooms: Vec<(Room, u64)> = Vec::new();
            let mut in_use: BTreeSet<u64> = BTreeSet::new();
            for event in events {
                match event {
                    Event::Ask(worker, pieces) => {
                        let before = first.held();
                        let (room, count) = workers[worker].room(&pieces);
                        let bytes: u64 = pieces[..count].iter().sum();
                        prop_assert!(count == pieces.len() || first.held() + pieces[count] > limit);
                        prop_assert!(first.held() <= before + bytes);
                        prop_assert!(first.held() <= limit || bytes == 0);
                        room.fill(vec![Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu).unwrap()]);
                        in_use.insert(room.set);
                        rooms.push((room, bytes));
                    }
                    Event::Use(i) if i < rooms.len() => {
                        if rooms[i].0.tensors().is_some() {
                            in_use.insert(rooms[i].0.set);
                        }
                    }
                    Event::Drop(i) if i < rooms.len() => _ = rooms.swap_remove(i),
                    Event::Use(_) | Event::Drop(_) => {}
                    Event::Begin(worker) => {
                        workers[worker].begin_step();
                        let of_others = |room: &&(Room, u64)| room.0.store.worker != worker;
                        let others: BTreeSet<u64> = rooms.iter().filter(of_others).map(|room| room.0.set).collect();
                        in_use.retain(|set| others.contains(set));
                    }
                    Event::Limit(bytes) => {
                        limit = bytes;
                        first.limit(bytes);
                    }
                }
                let there = |room: &&(Room, u64)| first.shelf().sets.contains_key(&room.0.set);
                let held: u64 = rooms.iter().filter(there).map(|room| room.1).sum();
                prop_assert_eq!(first.held(), held);
                prop_assert!(rooms.iter().filter(|room| in_use.contains(&room.0.set)).all(|room| there(&room)));
            }
        }
    }
}
