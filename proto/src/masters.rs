//! Which master to ask. Pure: the calls themselves are made where the answers are used.

use std::collections::VecDeque;

use tonic::Status;

use crate::channel::master_addresses;
use crate::error::Fault;

/// The header in which a master that does not lead names the one that does, as `host:port`.
pub const LEADER_HEADER: &str = "lake-leader";

/// The addresses of a cluster's masters, the most promising one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(VecDeque<String>);

impl Addresses {
    /// The masters named in `url` (`lake://host:port,…`).
    ///
    /// # Errors
    /// `invalid-job` when the URL is not one.
    pub fn of(url: &str) -> Result<Self, Fault> {
        Ok(Self(master_addresses(url)?.into()))
    }

    /// The address to ask now.
    pub fn first(&self) -> &str {
        self.0.front().map_or("", String::as_str)
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All of them, in the order in which they will be asked.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The first one did not help: the next one is asked.
    pub fn pass_on(&mut self) {
        self.0.rotate_left(usize::from(self.0.len() > 1));
    }

    /// The first one did not lead. The one that it named is asked next, also when the URL does not have it.
    pub fn redirect(&mut self, status: &Status) {
        let named = status.metadata().get(LEADER_HEADER).and_then(|value| value.to_str().ok());
        self.pass_on();
        if let Some(leader) = named {
            self.0.retain(|address| address != leader);
            self.0.push_front(leader.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_passes_on_and_a_follower_redirects() {
        let mut masters = Addresses::of("lake://a:1,b:2,c:3").unwrap();
        masters.pass_on();
        assert_eq!(masters.iter().collect::<Vec<_>>(), ["b:2", "c:3", "a:1"]);

        let mut status = Status::unavailable("not the leader");
        masters.redirect(&status);
        assert_eq!(masters.first(), "c:3");
        status.metadata_mut().insert(LEADER_HEADER, "b:2".parse().unwrap());
        masters.redirect(&status);
        assert_eq!(masters.iter().collect::<Vec<_>>(), ["b:2", "a:1", "c:3"]);
        status.metadata_mut().insert(LEADER_HEADER, "d:4".parse().unwrap());
        masters.redirect(&status);
        assert_eq!((masters.first(), masters.count()), ("d:4", 4));
    }
}
