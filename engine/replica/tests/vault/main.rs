//! The account vault: an account whose devices are all lost comes back by its phrase alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that fails may fail in any way"
)]

mod world;

use sheaf_crypto::{RecoveryPhrase, UserId};
use sheaf_replica::{
    Act, Command, CommandError, Event, Reply, VaultRecovery, VaultSetting, VaultStatus,
};
use world::{World, words};

/// Ada and Bob talk; a vault of Ada's account is at the relay.
struct Talk {
    world: World,
    ada: usize,
    bob: usize,
    phrase: RecoveryPhrase,
    user: UserId,
    bob_user: UserId,
    conversation: sheaf_crypto::ConversationId,
}

fn talk() -> Talk {
    let mut world = World::new();
    let (ada, bob) = (world.device(), world.device());
    let (user, phrase) = world.account(ada, "Ada");
    let (bob_user, _) = world.account(bob, "Bob");
    world.befriend(ada, bob, Some("Bobby"));
    let verified = Command::SetVerified {
        user: bob_user,
        verified: true,
    };
    world.command(ada, verified).unwrap();
    let conversation = world.found(ada, "Harvest", &[bob_user]);
    world.send(ada, conversation, "one");
    world.settle();
    world.send(bob, conversation, "two");
    world.quiet();
    Talk {
        world,
        ada,
        bob,
        phrase,
        user,
        bob_user,
        conversation,
    }
}

fn recovered(reply: Result<Reply, CommandError>) -> VaultRecovery {
    match reply.unwrap() {
        Reply::RecoveredFromVault(recovery) => recovery,
        _ => panic!("another answer"),
    }
}

fn no_vault(reply: Result<Reply, CommandError>) -> String {
    match reply {
        Err(CommandError::NoVault(why)) => why,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("recovered"),
    }
}

fn status(world: &World, at: usize) -> VaultStatus {
    world.peers[at].replica.vault_status().unwrap()
}

fn refused_vaults(world: &World, at: usize) -> usize {
    let refused = world.peers[at].events.iter().filter(
        |event| matches!(event, Event::Misbehaved(by) if matches!(by.act, Act::RefusedVault(_))),
    );
    refused.count()
}

#[test]
fn an_account_comes_back_by_its_phrase_alone() {
    let mut talk = talk();
    let world = &mut talk.world;
    world.lose(talk.ada);
    // Written after the last vault, and while Ada has no device at all.
    world.send(talk.bob, talk.conversation, "three");
    let new = world.device();
    let reply = world.recover(new, &talk.phrase);
    let recovery = recovered(reply);
    assert_eq!(recovery.user, talk.user);
    assert_eq!((recovery.conversations, recovery.contacts), (1, 1));
    assert_eq!((recovery.refused, recovery.left_out), (0, 0));
    assert_eq!(world.texts(new), ["one", "two", "three"]);
    let contacts = world.peers[new].replica.contacts();
    assert_eq!(contacts[0].name, "Bobby");
    assert!(contacts[0].verified && !contacts[0].changed);
    // It takes part again, and Bob knows the new device without anybody giving him a card.
    world.send(new, talk.conversation, "four");
    assert_eq!(world.texts(talk.bob), ["one", "two", "three", "four"]);
    world.send(talk.bob, talk.conversation, "five");
    world.settle();
    let all = ["one", "two", "three", "four", "five"];
    assert_eq!(world.texts(new), all);
    assert_eq!(world.texts(talk.bob), all);
    // The lost device is out, and reads nothing new even if somebody finds it.
    world.connect(talk.ada);
    world.settle();
    let lost = world.texts(talk.ada);
    assert!(!lost.contains(&"five".to_owned()), "{lost:?}");
    // And the account has a vault again, by the new device.
    world.quiet();
    world.lose(new);
    let newer = world.device();
    let again = world.recover(newer, &talk.phrase);
    assert_eq!(recovered(again).conversations, 1);
    assert_eq!(world.texts(newer), all);
}

#[test]
fn without_a_vault_it_says_so() {
    let mut world = World::new();
    let new = world.device();
    let phrase = RecoveryPhrase::parse(
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
         abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
         abandon art",
    );
    let why = no_vault(world.recover(new, &phrase.unwrap()));
    assert!(why.contains("holds no vault"), "{why}");
    assert!(world.peers[new].replica.overview().user.is_none());
    // The store is as good as before for an account of its own.
    world.account(new, "Carol");
}

#[test]
fn a_vault_that_the_relay_alters_is_refused() {
    let mut talk = talk();
    let world = &mut talk.world;
    world.lose(talk.ada);
    for record in world.vaults(&talk.phrase) {
        let place = record.len() / 2;
        record[place] ^= 1;
    }
    let new = world.device();
    let why = no_vault(world.recover(new, &talk.phrase));
    assert!(why.contains("damaged or forged"), "{why}");
    assert!(refused_vaults(world, new) > 0);
}

#[test]
fn a_vault_of_another_account_is_refused() {
    let mut talk = talk();
    let world = &mut talk.world;
    // Mallory knows Ada's card, and so the key that vaults are sealed to; the relay helps her.
    let mallory = world.device();
    let (_, theirs) = world.account(mallory, "Mallory");
    world.quiet();
    let moved = world.vaults(&theirs).clone();
    assert!(!moved.is_empty());
    world.lose(talk.ada);
    world.vaults(&talk.phrase).extend(moved);
    let new = world.device();
    let reply = world.recover(new, &talk.phrase);
    let recovery = recovered(reply);
    assert_eq!(recovery.user, talk.user);
    assert!(recovery.refused > 0);
}

#[test]
fn of_several_vaults_the_newest_wins_whatever_their_order() {
    let mut talk = talk();
    let world = &mut talk.world;
    let first = world.vaults(&talk.phrase).clone();
    let alias = Some("Robert");
    world.befriend(talk.ada, talk.bob, alias);
    world.quiet();
    assert!(world.vaults(&talk.phrase).len() > first.len());
    // The relay replays the old one behind the new one.
    world.vaults(&talk.phrase).extend(first);
    world.lose(talk.ada);
    let new = world.device();
    let reply = world.recover(new, &talk.phrase);
    recovered(reply);
    assert_eq!(world.peers[new].replica.contacts()[0].name, "Robert");
}

#[test]
fn a_revoked_device_writes_no_vault_that_counts() {
    let mut talk = talk();
    let world = &mut talk.world;
    world.lose(talk.ada);
    let new = world.device();
    let reply = world.recover(new, &talk.phrase);
    recovered(reply);
    world.quiet();
    // The lost device, found by a thief, writes a vault that is newer than all others. It still has
    // the topic's key, and its own log says that it is live.
    let latest = world.vaults(&talk.phrase).len();
    let topic = talk.phrase.vault_capability().topic();
    let before = world.topics.clone();
    world.topics.retain(|known, _| *known == topic);
    world.connect(talk.ada);
    world.pass(60_000);
    world.befriend(talk.ada, talk.bob, Some("Thief's friend"));
    world.quiet();
    let forged = world.vaults(&talk.phrase).split_off(latest);
    assert!(!forged.is_empty(), "the thief's device writes");
    world.lose(talk.ada);
    world.lose(new);
    world.topics = before;
    world.vaults(&talk.phrase).extend(forged);
    let newer = world.device();
    let reply = world.recover(newer, &talk.phrase);
    assert!(recovered(reply).refused > 0);
    assert_eq!(world.peers[newer].replica.contacts()[0].name, "Bobby");
}

#[test]
fn messages_alone_write_no_vault() {
    let mut talk = talk();
    let world = &mut talk.world;
    let before = world.vaults(&talk.phrase).len();
    for number in 0..20 {
        world.send(talk.ada, talk.conversation, &format!("{number}"));
        world.send(talk.bob, talk.conversation, &format!("and {number}"));
    }
    world.quiet();
    assert_eq!(world.vaults(&talk.phrase).len(), before);
    // Many changes make one vault; a quiet fortnight makes one too.
    for number in 0..5 {
        let alias = format!("Bob {number}");
        world.befriend(talk.ada, talk.bob, Some(&alias));
    }
    world.quiet();
    assert_eq!(world.vaults(&talk.phrase).len(), before + 1);
    world.pass(14 * 24 * 3600 * 1000);
    assert_eq!(world.vaults(&talk.phrase).len(), before + 2);
}

#[test]
fn the_size_tells_nothing_within_a_bucket() {
    let mut talk = talk();
    let world = &mut talk.world;
    let alias = "x".repeat(60);
    world.befriend(talk.ada, talk.bob, Some(&alias));
    world.quiet();
    world.befriend(talk.ada, talk.bob, Some("y"));
    world.quiet();
    let sizes: Vec<usize> = world.vaults(&talk.phrase).iter().map(Vec::len).collect();
    assert!(sizes.len() >= 3);
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
}

#[test]
fn off_leaves_an_empty_vault() {
    let mut talk = talk();
    let world = &mut talk.world;
    let set = |setting| Command::SetVault {
        setting,
        phrase: None,
    };
    world.command(talk.ada, set(VaultSetting::Off)).unwrap();
    world.quiet();
    assert_eq!(status(world, talk.ada).setting, VaultSetting::Off);
    let emptied = world.vaults(&talk.phrase).len();
    world.befriend(talk.ada, talk.bob, Some("Robert"));
    world.quiet();
    assert_eq!(world.vaults(&talk.phrase).len(), emptied, "nothing is kept");
    let new = world.device();
    let why = no_vault(world.recover(new, &talk.phrase));
    assert!(why.contains("turned off"), "{why}");
    // On again, and after a restart it is still so.
    world.command(talk.ada, set(VaultSetting::On)).unwrap();
    world.restart(talk.ada);
    assert_eq!(status(world, talk.ada).setting, VaultSetting::On);
    world.quiet();
    let reply = world.recover(new, &talk.phrase);
    assert_eq!(recovered(reply).contacts, 1);
}

#[test]
fn a_new_phrase_takes_the_vault_along() {
    let mut talk = talk();
    let world = &mut talk.world;
    let rotate = Command::RotateRecovery {
        phrase: words(&talk.phrase),
    };
    let new_phrase = match world.command(talk.ada, rotate).unwrap() {
        Reply::RecoveryRotated(words) => RecoveryPhrase::parse(&words.0).unwrap(),
        _ => panic!("no phrase"),
    };
    world.quiet();
    world.lose(talk.ada);
    let new = world.device();
    let old = world.recover(new, &talk.phrase);
    assert!(matches!(old, Err(CommandError::BadPhrase(_))));
    let reply = world.recover(new, &new_phrase);
    assert_eq!(recovered(reply).conversations, 1);
    assert_eq!(world.texts(new), ["one", "two"]);
    assert_eq!(world.peers[new].replica.contacts()[0].user, talk.bob_user);
}

#[test]
fn what_was_not_sent_when_the_store_was_closed_is_sent_later() {
    let mut talk = talk();
    let world = &mut talk.world;
    let before = world.vaults(&talk.phrase).len();
    world.lose(talk.ada);
    world.befriend(talk.ada, talk.bob, Some("Robert"));
    world.restart(talk.ada);
    assert_eq!(world.vaults(&talk.phrase).len(), before + 1);
    assert!(!status(world, talk.ada).stale);
}

#[test]
fn what_was_forgotten_does_not_come_back_by_the_phrase() {
    let mut talk = talk();
    let world = &mut talk.world;
    let epochs = |world: &World, at: usize| {
        let shown = world.peers[at].replica.conversation(&talk.conversation);
        let held = shown.unwrap().epochs.into_iter().filter(|(_, held)| *held);
        held.map(|(epoch, _)| epoch).collect::<Vec<_>>()
    };
    let old = epochs(world, talk.ada);
    let forget = Command::ForgetHistory(talk.conversation);
    world.command(talk.ada, forget).unwrap();
    for _ in 0..4 {
        world.quiet();
    }
    for at in [talk.ada, talk.bob] {
        assert!(epochs(world, at).iter().all(|epoch| !old.contains(epoch)));
        assert_eq!(world.texts(at), ["one", "two"]);
    }
    world.send(talk.bob, talk.conversation, "three");
    world.quiet();
    world.lose(talk.ada);
    let new = world.device();
    assert_eq!(recovered(world.recover(new, &talk.phrase)).conversations, 1);
    assert_eq!(world.texts(new), ["three"]);
    assert!(epochs(world, new).iter().all(|epoch| !old.contains(epoch)));
    world.send(new, talk.conversation, "four");
    world.quiet();
    assert_eq!(world.texts(talk.bob), ["one", "two", "three", "four"]);
    assert_eq!(world.texts(new), ["three", "four"]);
    let shown = world.peers[new].replica.conversation(&talk.conversation);
    let shown = shown.unwrap();
    assert_eq!((shown.parked, shown.forgetting), (0, None));
}
