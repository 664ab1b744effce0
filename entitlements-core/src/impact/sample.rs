//! A few of many, always the same ones.

/// The smallest of many keys, in order.
#[derive(Debug, Default)]
pub(super) struct Smallest<'s>(Vec<&'s str>);

impl<'s> Smallest<'s> {
    /// Keeps a key if it is among the smallest so many.
    pub(super) fn add(&mut self, key: &'s str, most: usize) {
        if self.0.len() >= most && self.0.last().is_none_or(|last| key >= *last) {
            return;
        }
        if let Err(place) = self.0.binary_search(&key) {
            self.0.insert(place, key);
            self.0.truncate(most);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'s str> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_are_kept_in_whatever_order_they_come() {
        for order in [["a", "b", "c", "d"], ["d", "c", "b", "a"], ["b", "d", "b", "a"]] {
            let mut smallest = Smallest::default();
            order.into_iter().for_each(|key| smallest.add(key, 2));
            assert_eq!(smallest.iter().collect::<Vec<_>>(), ["a", "b"], "{order:?}");
        }
        let mut none = Smallest::default();
        none.add("a", 0);
        assert_eq!(none.iter().count(), 0);
    }
}
