//! `sheaf doctor`: why something is not synced, in words, and what to do.

use std::time::Duration;

use serde::Serialize;
use sheaf_engine::{
    CommandError, ContactInfo, ConversationInfo, Count, DeviceInfo, DeviceStanding, Engine,
    EngineError, LinkState, Overview, PeerInfo, Progress, RelayStatus, Role, UserId,
};

use crate::exit::{Code, Failure};
use crate::output::harmless;
use crate::request::Settings;
use crate::session::{Reach, with_engine};
use crate::time::rfc3339;

/// Free space below which a store will soon take nothing more, in bytes.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// One thing that keeps something from being synced.
#[derive(Debug, Serialize)]
struct Finding {
    /// A word for scripts.
    finding: &'static str,
    /// What it is about: a conversation, device or file.
    subject: String,
    /// What is wrong.
    says: String,
    /// What to do.
    advice: String,
}

impl Finding {
    fn new(
        finding: &'static str,
        subject: impl Into<String>,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            finding,
            subject: harmless(&subject.into()),
            says: harmless(&says.into()),
            advice: advice.into(),
        }
    }
}

/// Looks at everything that can keep something from being synced.
pub(super) async fn doctor(settings: &Settings, wait: Duration) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let relays = settings.home.relays(&settings.relays)?;
    let state = settings.home.state();
    let found = with_engine(settings, Reach::Online, |engine| async move {
        let mut findings = Vec::new();
        disk(&state, &mut findings);
        if relays.is_empty() {
            findings.push(Finding::new(
                "no_relay",
                "relay",
                "no relay is configured, so nothing leaves this device",
                "give one with --relay sheaf://HOST:PORT/#KEY; it is remembered",
            ));
        } else {
            connection(&engine, wait, &mut findings).await?;
        }
        relays_of(&engine, wait, &mut findings).await?;
        if let Some(reason) = engine.store_failure().await? {
            findings.push(Finding::new(
                "store_failed",
                "store",
                format!("nothing more can be kept here: {reason}"),
                "make room on the disk, or see what `sheaf store check` says; then start again",
            ));
        }
        let overview = engine.overview().await?;
        if let Some(said) = engine.link_status().refused.filter(|_| overview.pending > 0) {
            findings.push(Finding::new(
                "relay_refuses",
                "relay",
                format!("it does not take what this device writes: {said}"),
                "it is kept here and offered again; whoever runs the relay can see in its log why, or \
                 use another relay beside it (`sheaf relay add`)",
            ));
        }
        incomplete(&engine.progress().await?, &mut findings);
        let devices = engine.devices().await?;
        let contacts = engine.contacts().await?;
        own_device(&devices, &mut findings);
        for held in engine.quarantines().await? {
            let whose = held.user.map(|user| owner_of(&user, &contacts));
            findings.push(Finding::new(
                "quarantined",
                format!("{}{}", held.device, whose.unwrap_or_default()),
                "what this device sends is kept and not shown, for what it did",
                "`sheaf audit` says what; `sheaf device quarantine lift DEVICE` ends it",
            ));
        }
        for info in &engine.conversations().await? {
            let before = findings.len();
            copied(info, &devices, &mut findings);
            conversation(info, &overview, (&devices, &contacts), &mut findings);
            if findings.len() == before {
                unread(info, &overview, &mut findings);
            }
        }
        // Before the store is closed, which may fail.
        settings.printer.list(&findings, text)?;
        Ok(findings.len())
    })
    .await?;
    match found {
        0 => Ok(()),
        _ => Err(Failure::silent(Code::Partial)),
    }
}

fn disk(state: &std::path::Path, findings: &mut Vec<Finding>) {
    let Ok(disk) = rustix::fs::statvfs(state) else {
        return;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < FREE_BYTES_MIN {
        findings.push(Finding::new(
            "disk_full",
            state.display().to_string(),
            format!("only {} MiB are free where the store is", free >> 20),
            "make room: what cannot be written is refused, nothing that was saved is lost",
        ));
    }
}

async fn connection(
    engine: &Engine,
    wait: Duration,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    match engine.wait_connected(wait).await {
        Ok(()) => {}
        Err(EngineError::Closed) => return Err(EngineError::Closed.into()),
        // Said beside the relays.
        Err(EngineError::Command(CommandError::StoreFailed(_))) => return Ok(()),
        Err(error) => {
            let failure = Failure::from(error);
            findings.push(Finding::new(
                "relay",
                "relay",
                failure.what().to_owned(),
                failure.advice().unwrap_or("try again later").to_owned(),
            ));
            return Ok(());
        }
    }
    // What is found is more telling once the relay was read to its end.
    match engine.wait_settled(wait).await {
        Err(EngineError::Closed) => Err(EngineError::Closed.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Relays that contradicted themselves, take nothing, or are away while another one answers.
async fn relays_of(
    engine: &Engine,
    wait: Duration,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let mut known = engine.relays().await?;
    let up =
        |status: &RelayStatus| matches!(status.state, LinkState::Synchronizing | LinkState::Active);
    let another = known.iter().any(up);
    if another && known.len() > 1 {
        known = super::relay::look(engine, wait).await?;
    }
    for status in &known {
        let relay = status.address.to_string();
        if let LinkState::Disconnected(reason) = &status.state
            && another
        {
            findings.push(Finding::new(
                "relay_away",
                relay.clone(),
                format!("{reason}; another relay carries everything meanwhile"),
                "it gets what it lacks when it is back; where it is gone for good, `sheaf relay remove`",
            ));
        }
        if status.evidence > 0 {
            findings.push(Finding::new(
                "relay_contradicts",
                relay.clone(),
                "this relay signed two words that cannot both be true: it lied, or its store was put \
                 back to a backup",
                "`sheaf relay evidence` shows the proof, which anybody can check; ask its operator, or \
                 use another one (`sheaf relay add`)",
            ));
        }
        if let Some((count, since)) = status.unconfirmed {
            let since = rfc3339(since.0);
            findings.push(Finding::new(
                "relay_unconfirmed",
                relay,
                format!("this relay has not confirmed {count} records since {since}"),
                "another relay carries them meanwhile, where there is one: `sheaf relay add`",
            ));
        }
    }
    Ok(())
}

/// What is known to exist and is not here yet.
fn incomplete(progress: &Progress, findings: &mut Vec<Finding>) {
    let lacks = |count: Count| count.of.is_some_and(|of| count.done < of);
    if lacks(progress.conversations) || lacks(progress.segments) {
        findings.push(Finding::new(
            "incomplete",
            "history",
            super::progress::words(progress),
            "it comes by itself while this device is connected (`sheaf run`); what no relay has comes \
             while another device that has it is connected too",
        ));
    }
}

/// Nothing is known to be missing, and yet it is not proved that nothing is.
fn unread(info: &ConversationInfo, overview: &Overview, findings: &mut Vec<Finding>) {
    if overview.connected && info.takes_part && !info.synced {
        findings.push(Finding::new(
            "unread",
            info.name.clone(),
            "it is not proved that all of it was read",
            "`sheaf sync now` reads it to its end; `sheaf status` says how far that has come",
        ));
    }
}

fn own_device(devices: &[DeviceInfo], findings: &mut Vec<Finding>) {
    let Some(own) = devices.iter().find(|device| device.this) else {
        return;
    };
    match own.state {
        DeviceStanding::Active => {}
        DeviceStanding::Frozen => {
            let by = own.frozen_by.as_deref().unwrap_or("another device");
            findings.push(Finding::new(
                "frozen",
                own.name.clone(),
                format!("{by} froze this device: it gets no new key, and what it writes waits"),
                "`sheaf device thaw` on a device that is senior to the one that froze it, or \
                 with --phrase-file",
            ));
        }
        DeviceStanding::Revoked => findings.push(Finding::new(
            "revoked",
            own.name.clone(),
            "this device is no device of the account any more",
            "what it holds stays readable here; link it again under a new home",
        )),
    }
}

/// Frozen in a conversation alone, by a proof and by nobody's will.
fn copied(info: &ConversationInfo, devices: &[DeviceInfo], findings: &mut Vec<Finding>) {
    let own = devices.iter().find(|device| device.this);
    let own = own.filter(|own| own.state == DeviceStanding::Active);
    if own.is_some_and(|own| info.frozen.contains(&own.device)) {
        findings.push(Finding::new(
            "copied",
            info.name.clone(),
            "it is proved that this device wrote two histories there, as when its store was copied: it \
             gets no new key, and what it writes waits",
            "stop using one of the copies, then `sheaf device thaw` on a device of yours that is senior \
             to this one, or here with --phrase-file",
        ));
    }
}

fn conversation(
    info: &ConversationInfo,
    overview: &Overview,
    (devices, contacts): (&[DeviceInfo], &[ContactInfo]),
    findings: &mut Vec<Finding>,
) {
    let name = info.name.as_str();
    unsent(info, overview, findings);
    // Nothing more comes, and nobody waits for this device.
    if super::status::is_out(info, overview.user, devices) {
        return;
    }
    for reason in &info.waiting {
        findings.push(Finding::new(
            "waiting",
            name,
            format!("something that came cannot be read before {reason} is here"),
            "a device that has it must be online once: `sheaf sync resync` asks all of them",
        ));
    }
    if let Some(waits) = super::conversation::forgetting_words(info) {
        findings.push(Finding::new(
            "forgetting",
            name,
            format!("the keys of what came before the cut are still here: it waits for {waits}"),
            "a device has to be online once; one that never comes back holds it up until it is taken \
             out (`sheaf device revoke`, `sheaf conversation member remove`)",
        ));
    }
    for peer in &info.peers {
        lacking(info, peer, contacts, findings);
    }
}

fn unsent(info: &ConversationInfo, overview: &Overview, findings: &mut Vec<Finding>) {
    if info.pending == 0 {
        return;
    }
    let role = info
        .members
        .iter()
        .find(|(user, ..)| Some(*user) == overview.user)
        .map(|(_, _, role, _)| *role);
    let (why, advice) = match role {
        None => (
            "you are no member of it any more",
            "copy what you need; an admin can add you again",
        ),
        Some(Role::Reader) => (
            "you may only read it now",
            "copy what you need; an admin can make you a writer again",
        ),
        Some(_) if !info.takes_part => (
            "this device takes no part in it",
            "what else is found here, or `sheaf device list`, says why",
        ),
        Some(_) if !overview.connected => (
            "there is no connection to a relay",
            "it goes out by itself at the next connection",
        ),
        Some(_) => (
            "the relay has not confirmed it yet",
            "run `sheaf sync now`; if it stays, `sheaf -v sync now` shows what the relay says",
        ),
    };
    findings.push(Finding::new(
        "unsent",
        info.name.clone(),
        format!("{} changes are only on this device: {why}", info.pending),
        advice,
    ));
}

fn lacking(
    info: &ConversationInfo,
    peer: &PeerInfo,
    contacts: &[ContactInfo],
    findings: &mut Vec<Finding>,
) {
    let name = info.name.as_str();
    let whose = owner_of(&peer.user, contacts);
    let device = format!("{}{whose}", peer.name);
    // Who takes no part compares with others no more, and may lack what they go on from.
    if !peer.differs.is_empty() && info.takes_part {
        findings.push(Finding::new(
            "differs",
            name,
            format!("{device} has the same items and other documents"),
            "run `sheaf sync resync --full` on both; if it stays, report it: it should not happen",
        ));
    }
    if peer.lacks == 0 {
        return;
    }
    let seen = match peer.last_seen {
        Some(time) => format!("was last heard of {}", rfc3339(time.0)),
        None => "was never heard of".to_owned(),
    };
    findings.push(Finding::new(
        "behind",
        name,
        format!(
            "{device} has not said to have the last {} items; it {seen}",
            peer.lacks
        ),
        "it says so when it is online next (`sheaf sync now` there); `sheaf sync export` writes \
         what it lacks to a file",
    ));
}

fn owner_of(user: &UserId, contacts: &[ContactInfo]) -> String {
    let contact = contacts.iter().find(|contact| contact.user == *user);
    contact.map_or_else(String::new, |contact| format!(" of {}", contact.name))
}

fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "everything is synced, and every device has said so".to_owned();
    }
    let lines = findings
        .iter()
        .map(|one| format!("{}: {}\n    {}", one.subject, one.says, one.advice));
    lines.collect::<Vec<_>>().join("\n")
}
