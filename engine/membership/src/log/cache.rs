//! A bounded number of resolved places, the least recently used of which goes first.

use std::collections::VecDeque;

use super::resolve::Resolved;

#[derive(Debug, Clone)]
pub(crate) struct Cache<I, S> {
    /// The newest use last.
    places: VecDeque<(Vec<usize>, Resolved<I, S>)>,
    most: usize,
}

impl<I: Clone, S: Clone> Cache<I, S> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            places: VecDeque::new(),
            most,
        }
    }

    /// What the sorted heads resolve to, if that is remembered.
    pub(crate) fn find(&mut self, heads: &[usize]) -> Option<Resolved<I, S>> {
        let at = self.places.iter().position(|(kept, _)| kept == heads)?;
        let place = self.places.remove(at)?;
        let resolved = place.1.clone();
        self.places.push_back(place);
        Some(resolved)
    }

    pub(crate) fn keep(&mut self, heads: Vec<usize>, resolved: Resolved<I, S>) {
        if self.places.len() >= self.most {
            self.places.pop_front();
        }
        if self.most > 0 {
            self.places.push_back((heads, resolved));
        }
    }
}
