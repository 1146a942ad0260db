//! Alice with a laptop and a phone, Bob with a laptop, and a relay that all of them know.

use crate::home::{Home, text};
use crate::relay::Relay;

pub struct People {
    pub laptop: Home,
    pub phone: Home,
    pub bob: Home,
    relay: Relay,
    phrase: String,
    files: tempfile::TempDir,
}

impl People {
    /// Each other's contacts, with one conversation that everybody has read to its end.
    pub fn meet() -> Self {
        let relay = Relay::start();
        let home = |user, device| {
            let home = Home::empty();
            let relay = relay.address();
            let init = ["init", "--user", user, "--device", device, "--relay", relay];
            let phrase = text(&home.ok(&init), "recovery_phrase");
            (home, phrase)
        };
        let ((laptop, phrase), (bob, _)) = (home("alice", "laptop"), home("bob", "desk"));
        let phone = link(&laptop, "phone");
        // The laptop's card names the phone too.
        for (from, to) in [(&laptop, &bob), (&bob, &laptop)] {
            let card = text(&from.ok(&["card"]), "card");
            to.ok(&["contact", "add", &card]);
        }
        laptop.ok(&["conversation", "create", "Harvest", "--member", "bob"]);
        let people = Self {
            laptop,
            phone,
            bob,
            relay,
            phrase,
            files: tempfile::tempdir().unwrap(),
        };
        people.exchange();
        people
    }

    pub fn relay(&self) -> &str {
        self.relay.address()
    }

    /// Alice's recovery phrase.
    pub fn phrase(&self) -> String {
        self.phrase.clone()
    }

    /// A file that holds one line.
    pub fn file(&self, line: &str) -> String {
        let number = std::fs::read_dir(self.files.path()).unwrap().count();
        let path = self.files.path().join(number.to_string());
        std::fs::write(&path, line).unwrap();
        path.display().to_string()
    }

    /// Twice round: what one says in answer to another is read as well.
    pub fn exchange(&self) {
        for _ in 0..2 {
            for home in [&self.laptop, &self.phone, &self.bob] {
                home.ok(&["sync", "now"]);
            }
        }
    }

    pub fn bob_id(&self) -> String {
        text(&self.bob.ok(&["status", "--wait", "0"]), "user")
    }
}

/// A second device of an account.
pub fn link(existing: &Home, name: &str) -> Home {
    let new = Home::empty();
    let mut linking = existing.start(&["device", "link"]);
    let code = text(&linking.next(), "code");
    let mut joining = new.start(&["device", "join", &code, "--device", name]);
    linking.type_line(&text(&joining.next(), "digits"));
    let (linking, joining) = (linking.end(), joining.end());
    assert_eq!(linking.code, 0, "{linking:?}");
    assert_eq!(joining.code, 0, "{joining:?}");
    new
}

/// Texts of the conversation, in order.
pub fn texts(home: &Home) -> Vec<String> {
    let messages = home.lines(&["message", "list", "Harvest"]);
    messages
        .iter()
        .map(|message| text(message, "text"))
        .collect()
}

pub fn send(home: &Home, words: &str) {
    let sent = home.ok(&["message", "send", "Harvest", words, "--wait", "10"]);
    assert_eq!(sent["state"], "sent", "{words}");
}

/// The role that a home sees a user in; nothing if the user is no member.
pub fn role(home: &Home, user: &str) -> Option<String> {
    let members = home.lines(&["conversation", "member", "list", "Harvest"]);
    let found = members.iter().find(|member| member["user"] == user);
    found.map(|member| text(member, "role"))
}

/// The epoch that a home writes under, and how many it knows.
pub fn epochs(home: &Home) -> (Option<String>, usize) {
    let epochs = home.lines(&["epoch", "list", "Harvest"]);
    let writing = epochs.iter().find(|epoch| epoch["writing"] == true);
    (writing.map(|epoch| text(epoch, "epoch")), epochs.len())
}
