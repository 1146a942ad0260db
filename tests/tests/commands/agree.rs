//! What has to be so at the end of every history.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::world::{PEOPLE, World, word};

/// Rounds of exchange within which everything is to be everywhere.
const ROUNDS: usize = 12;

impl World {
    /// All relays are up, everybody exchanges what he has; then all agree.
    pub fn agree(&mut self) {
        for station in &mut self.stations {
            station.start();
        }
        if self.copied || self.with.restore || self.with.freeze {
            self.thaw();
        }
        let homes = 0..self.homes.len();
        let mut rounds = 0..ROUNDS;
        let synced = rounds.any(|round| {
            // Nobody needs to be connected at the same time as somebody else, and everybody may be.
            if round % 2 == 0 {
                let started = homes.clone().map(|home| self.start(home, &["sync", "now"]));
                let started: Vec<_> = started.collect();
                for started in started {
                    let ended = started.end(None);
                    self.judge(&ended);
                }
            } else {
                for home in homes.clone() {
                    self.whole(home, &["sync", "now"]);
                }
            }
            homes.clone().all(|home| self.is_synced(home))
        });
        if !synced {
            self.find(format!("not synced after {ROUNDS} rounds"));
        }
        self.compare(homes);
    }

    /// Who signed two items at one place is frozen: a copy did, or what a backup held and had not sent
    /// was sent before it was put back and the relays lost it. Others were frozen by hand. The person says
    /// that the device is all right, by the phrase, and it goes on.
    fn thaw(&mut self) {
        for home in (0..self.homes.len()).chain(0..self.homes.len()) {
            self.whole(home, &["sync", "now", "--timeout", "10"]);
        }
        for home in 0..PEOPLE {
            let phrase = self.path(self.homes[home].user).display().to_string();
            let known = self.whole(home, &["device", "list"]).values();
            for device in known.iter().map(|device| word(device, "name")) {
                let thaw = ["device", "thaw", &device, "--phrase-file", &phrase];
                self.whole(home, &thaw);
            }
        }
        for home in (0..self.homes.len()).chain(0..self.homes.len()) {
            self.whole(home, &["sync", "now", "--timeout", "10"]);
        }
        for home in 0..self.homes.len() {
            if self.is_frozen(home) {
                let name = self.homes[home].name.clone();
                self.find(format!("{name} is frozen after it was thawed"));
            }
        }
    }

    fn is_frozen(&mut self, home: usize) -> bool {
        let own = self.whole(home, &["status", "--wait", "0"]).first();
        let talks = own["conversations"].as_array().cloned().unwrap_or_default();
        let mut part = talks.iter().filter(|talk| talk["out"] != true);
        part.any(|talk| {
            let id = word(talk, "conversation");
            let shown = self.whole(home, &["conversation", "show", &id]).first();
            let frozen = shown["frozen"].as_array();
            frozen.is_some_and(|frozen| frozen.contains(&own["device"]))
        })
    }

    fn is_synced(&mut self, home: usize) -> bool {
        let state = self.whole(home, &["status", "--wait", "2"]).first();
        let conversations = state["conversations"].as_array().cloned();
        let conversations = conversations.unwrap_or_default();
        let mut part = conversations.iter().filter(|talk| talk["out"] != true);
        part.all(|talk| talk["synced"] == true)
    }

    fn compare(&mut self, homes: impl Iterator<Item = usize>) {
        let steady = self.steady.clone();
        let mut lists = BTreeSet::new();
        let mut documents: BTreeMap<String, Value> = BTreeMap::new();
        for home in homes {
            let listed = self.whole(home, &["message", "list", &steady, "--limit", "10000"]);
            let listed = listed.values();
            lists.insert(
                listed
                    .iter()
                    .map(|m| word(m, "message"))
                    .collect::<Vec<_>>(),
            );
            self.compare_messages(home, &listed);
            let heads = self
                .whole(home, &["conversation", "heads", &steady])
                .first();
            for segment in heads["segments"].as_array().into_iter().flatten() {
                let number = segment["segment"].to_string();
                let known = documents.entry(number.clone());
                if known.or_insert_with(|| segment["heads"].clone()) != &segment["heads"] {
                    let name = &self.homes[home].name;
                    self.find(format!("{name}: the heads of segment {number} differ"));
                }
            }
            let checked = self.whole(home, &["store", "check"]);
            if checked.code != Some(0) {
                self.find(format!("{}: {}", checked.what, checked.complaint));
            }
            self.whole(home, &["doctor"]);
            self.whole(home, &["audit"]);
        }
        if lists.len() != 1 {
            self.find(format!("{} different lists of messages", lists.len()));
        }
    }

    fn compare_messages(&mut self, home: usize, listed: &[Value]) {
        let name = self.homes[home].name.clone();
        let texts = listed.iter().map(|m| (word(m, "message"), word(m, "text")));
        let texts: BTreeMap<String, String> = texts.collect();
        if texts.len() != listed.len() {
            self.find(format!("{name}: messages are listed twice"));
        }
        let written: BTreeSet<&String> = texts.values().collect();
        let sent = self.sent.clone();
        for (message, text) in &sent {
            let found = match texts.get(message) {
                Some(listed) => listed == text,
                // What was built on a side of a fork that fell has another id since; what a home had
                // not sent is gone with it.
                None => self.with.restore || self.copied && written.contains(text),
            };
            if !found {
                let start: String = text.chars().take(20).collect();
                self.find(format!(
                    "{name}: {message} ({start}) is acknowledged and not listed"
                ));
            }
        }
    }
}
