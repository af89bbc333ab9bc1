//! What stands above every page: which master the visitor talks to, and whose page it is. Pure.

use crate::html::{Html, element, instant, text};

/// What a master is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It decides.
    Leader,
    /// Another master decides.
    Follower,
    /// Nobody decides, as far as it knows.
    NoQuorum,
}

impl Standing {
    const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::NoQuorum => "no quorum",
        }
    }
}

/// The masters behind a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masthead {
    /// The master that drew the page.
    pub id: u64,
    /// What it is.
    pub standing: Standing,
    /// Its term.
    pub term: u64,
    /// The master that the visitor talks to, when it is another one.
    pub relay_id: Option<u64>,
    /// `host:port` of the leader, when one is known.
    pub leader: Option<String>,
    /// Now.
    pub now_ms: u64,
}

impl Masthead {
    /// The line in the head of the page.
    pub(crate) fn line(&self) -> Html {
        let (id, standing) = match self.relay_id {
            Some(id) => (id, Standing::Follower),
            None => (self.id, self.standing),
        };
        let at = format!("master {id} · {} · term {} · ", standing.name(), self.term);
        let zone = element("span", &[("class", "zone")], &[text("UTC")]);
        element("span", &[("class", "at")], &[text(at), instant(self.now_ms), text(" "), zone])
    }

    /// What a visitor must know of the page beside what it shows; nothing for the leader's own.
    pub(crate) fn notice(&self) -> Html {
        let words = match (self.relay_id, self.standing, &self.leader) {
            (Some(relay_id), _, leader) => {
                let place = leader.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
                format!(
                    "You talk to master {relay_id}, which does not lead: this page is relayed from the leader, \
                     master {}{place}.",
                    self.id
                )
            }
            (None, Standing::Leader, _) => return Html::default(),
            (None, Standing::Follower | Standing::NoQuorum, Some(leader)) => format!(
                "Master {} does not lead, and the leader at {leader} does not answer: tasks that run and heartbeats of \
                 workers are not shown.",
                self.id
            ),
            (None, Standing::Follower | Standing::NoQuorum, None) => format!(
                "Master {} does not lead, and no other master is known to: tasks that run and heartbeats of workers are \
                 not shown.",
                self.id
            ),
        };
        element("p", &[("class", "notice")], &[text(words)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masthead(standing: Standing, relay_id: Option<u64>, leader: Option<&str>) -> Masthead {
        Masthead { id: 2, standing, term: 7, relay_id, leader: leader.map(str::to_owned), now_ms: 1_795_253_412_000 }
    }

    #[test]
    fn the_leaders_own_page_says_who_it_is_and_nothing_more() {
        let own = masthead(Standing::Leader, None, Some("h2:7077"));
        let line = own.line().into_string();
        assert!(line.contains("master 2 · leader · term 7 · <time datetime=\"2026-11-21T09:30:12Z\""), "{line}");
        assert!(own.notice().is_empty());
    }

    #[test]
    fn a_relayed_page_names_the_master_that_is_asked_and_the_leader() {
        let relayed = masthead(Standing::Leader, Some(3), Some("h2:7077"));
        assert!(relayed.line().into_string().contains("master 3 · follower · term 7"));
        let notice = relayed.notice().into_string();
        assert!(notice.contains("talk to master 3"), "{notice}");
        assert!(notice.contains("relayed from the leader, master 2 at h2:7077."), "{notice}");
        let hostile = masthead(Standing::Leader, Some(3), Some("<b>")).notice().into_string();
        assert!(!hostile.contains("<b>"), "{hostile}");
    }

    #[test]
    fn a_page_without_a_leader_says_what_it_lacks() {
        for (standing, leader, expected) in [
            (Standing::Follower, Some("h1:7077"), "the leader at h1:7077 does not answer"),
            (Standing::NoQuorum, None, "no other master is known to"),
        ] {
            let notice = masthead(standing, None, leader).notice().into_string();
            assert!(notice.contains(expected) && notice.contains("not shown"), "{notice}");
        }
    }
}
