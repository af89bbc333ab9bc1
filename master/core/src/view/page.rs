//! Pages of long lists. Pure.

use super::{ApplicationView, Before, Room, view_of};
use crate::application::Application;
use crate::state::State;

/// A page of the applications that have not ended and are wanted, the newest first. It is taken in pieces, so that
/// commands need not wait for a look at all of them.
#[derive(Debug)]
pub struct OpenPage {
    skip: usize,
    limit: usize,
    next: Option<Before>,
    /// Those on the page.
    pub found: Vec<ApplicationView>,
    /// How many there are, on all pages.
    pub count: usize,
}

impl OpenPage {
    /// At most `limit` of them behind the first `skip`.
    pub const fn new(skip: usize, limit: usize) -> Self {
        Self { skip, limit, next: Some(Before::NEWEST), found: Vec::new(), count: 0 }
    }

    /// Takes the next piece, in which `at_once` applications are looked at. `false` when that was the last one.
    pub fn look(&mut self, state: &State, wanted: impl Fn(&Application) -> bool, at_once: usize) -> bool {
        let Some(before) = self.next.take() else { return false };
        let room = Room::of(state);
        for (looks, application) in state.newest_before(before.0).enumerate() {
            if application.phase.ended().is_none() && wanted(application) {
                if self.count >= self.skip && self.found.len() < self.limit {
                    self.found.push(view_of(state, application, &room));
                }
                self.count += 1;
            }
            if looks + 1 >= at_once {
                self.next = Some(Before(application.queued_at));
                break;
            }
        }
        self.next.is_some()
    }
}
