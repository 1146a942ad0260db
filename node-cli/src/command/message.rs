//! `sheaf message send` and `sheaf message list`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use sheaf_engine::{
    Away, CommandError, Conversation, ConversationInfo, DeviceInfo, Draft, Engine, EngineError,
    Event, EventStream, Listed, MessageId, MessageRecord, Page, UserId,
};
use tokio::time::timeout;

use crate::exit::Failure;
use crate::output::harmless;
use crate::request::{ListRequest, SendRequest, Settings};
use crate::resolve;
use crate::session::{Reach, connect, expect_not_revoked, own_user, with_engine};
use crate::time::{rfc3339, rfc3339_signed};

#[derive(Serialize)]
struct Sent {
    message: String,
    state: &'static str,
}

#[derive(Serialize)]
struct Origin {
    author: String,
    time: String,
}

/// A message as it is listed and as `sheaf run` prints it.
#[derive(Serialize)]
pub(super) struct Shown {
    message: String,
    author: String,
    author_name: String,
    device: String,
    time: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    system: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
}

/// Names of people by id.
pub(super) type Names = BTreeMap<UserId, String>;

/// Everybody who has a name in a conversation.
pub(super) fn names(info: &ConversationInfo) -> Names {
    let members = info.members.iter();
    members
        .map(|(user, name, _, _)| (*user, name.clone()))
        .collect()
}

impl Shown {
    pub(super) fn new(record: MessageRecord, names: &Names) -> Self {
        let short = || record.author.to_string().chars().take(8).collect();
        Self {
            message: record.message.to_string(),
            author: record.author.to_string(),
            author_name: names.get(&record.author).cloned().unwrap_or_else(short),
            device: record.device.to_string(),
            time: rfc3339(record.message.time().ms()),
            text: record.text,
            reply_to: record.reply_to.map(|id| id.to_string()),
            system: record.system,
            origin: record.origin.map(|(author, time_ms)| Origin {
                author,
                time: rfc3339_signed(time_ms),
            }),
        }
    }

    /// One line for people: time, who, what.
    pub(super) fn line(&self) -> String {
        let (who, time) = match &self.origin {
            Some(origin) => (&origin.author, &origin.time),
            None => (&self.author_name, &self.time),
        };
        let (who, text) = (harmless(who), harmless(&self.text));
        if self.system {
            let who = if who.is_empty() { who } else { who + " " };
            return format!("{time}  * {who}{text}");
        }
        format!("{time}  {who}: {text}")
    }
}

/// Sends one message: durable first, then, if a relay can be had, at the relay.
pub(super) async fn send(settings: &Settings, send: SendRequest) -> Result<(), Failure> {
    let relays = settings.home.relays(&settings.relays)?;
    let wanted = !relays.is_empty() && !send.wait.is_zero();
    let reach = if wanted {
        Reach::Online
    } else {
        Reach::Offline
    };
    let sent = with_engine(settings, reach, |engine| async move {
        let mut events = engine.events();
        let (conversation, info) = resolve::conversation(&engine, &send.conversation).await?;
        expect_part(settings, &engine, &info).await?;
        let mut draft = Draft::text(send.text);
        draft.reply_to = send.reply_to;
        let message = match send.token {
            Some(token) => conversation.send_with_token(draft, &token).await?,
            None => conversation.send(draft).await?,
        };
        let at_relay = wanted
            && timeout(send.wait, receipt(&engine, &mut events, message))
                .await
                .unwrap_or(false);
        Ok(Sent {
            message: message.to_string(),
            state: if at_relay { "sent" } else { "queued" },
        })
    })
    .await?;
    settings
        .printer
        .show(&sent, |sent| format!("{}  {}", sent.message, sent.state))
}

/// Nobody would take what a revoked device writes, and what a frozen one writes waits.
async fn expect_part(
    settings: &Settings,
    engine: &Engine,
    info: &ConversationInfo,
) -> Result<(), Failure> {
    let user = own_user(engine).await?;
    let member = info.members.iter().any(|(known, ..)| *known == user);
    // Who is no member is told so by the engine.
    if info.takes_part || !member {
        return Ok(());
    }
    expect_not_revoked(engine).await?;
    // A freeze may be known from the conversation alone.
    let devices = engine.devices().await?;
    let own = devices.iter().find(|device| device.this);
    settings.printer.say(&waits(own));
    Ok(())
}

/// Why what this device writes waits.
fn waits(own: Option<&DeviceInfo>) -> String {
    let Some((own, by)) = own.and_then(|own| Some((own, own.frozen_by.as_ref()?))) else {
        return "this device is frozen or not taken in; what it writes waits until that is over"
            .to_owned();
    };
    let (by, name) = (harmless(by), harmless(&own.name));
    format!(
        "this device was frozen by {by}; what it writes waits until it is thawed: run `sheaf device \
         thaw {name}` on {by}, or here with --phrase-file"
    )
}

/// Waits for the relay's receipt; true once it is there.
async fn receipt(engine: &Engine, events: &mut EventStream, message: MessageId) -> bool {
    let receipt = async {
        while let Some(event) = events.next().await {
            if let Event::MessagesSent { messages, .. } = event
                && messages.contains(&message)
            {
                return true;
            }
        }
        false
    };
    // A message that a token stands for may have its receipt since long ago.
    let settled = async {
        while let Ok(overview) = engine.overview().await {
            if overview.connected && overview.pending == 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    };
    tokio::select! {
        sent = receipt => sent,
        sent = settled => sent,
    }
}

/// Lists messages in order of time; fetches those that are not here where that is asked for.
pub(super) async fn list(settings: &Settings, list: ListRequest) -> Result<(), Failure> {
    let reach = match list.fetch {
        Some(_) => Reach::Online,
        None => Reach::Offline,
    };
    let (messages, names, absent) = with_engine(settings, reach, |engine| async move {
        let (conversation, info) = resolve::conversation(&engine, &list.conversation).await?;
        let page = Page {
            limit: list.limit,
            before: list.before,
            after: list.after,
        };
        let mut listed = conversation.list(page).await?;
        if let Some(patience) = list.fetch
            && !listed.missing.is_empty()
        {
            fetch(settings, &engine, (&conversation, page), patience).await?;
            listed = conversation.list(page).await?;
        }
        let absent = absent(&listed, &info);
        Ok((listed.messages, names(&info), absent))
    })
    .await?;
    let shown: Vec<Shown> = messages
        .into_iter()
        .map(|record| Shown::new(record, &names))
        .collect();
    if let Some(absent) = absent {
        settings.printer.say(&absent);
    }
    if shown.is_empty() && !settings.printer.is_json() {
        settings.printer.say("no messages");
        return Ok(());
    }
    settings.printer.list(&shown, |shown| {
        let lines: Vec<_> = shown.iter().map(Shown::line).collect();
        lines.join("\n")
    })
}

/// Fetches segment by segment, the newest first, until nothing is missing from the page.
async fn fetch(
    settings: &Settings,
    engine: &Engine,
    (conversation, page): (&Conversation, Page),
    patience: Duration,
) -> Result<(), Failure> {
    let fetching = async {
        connect(engine, patience).await?;
        // What waits for something else does not stand in the way.
        if let Err(error) = engine.wait_settled(patience / 2).await {
            tracing::debug!(%error, "not settled");
        }
        let mut left = BTreeSet::new();
        while let Some(segment) = next(&conversation.list(page).await?, &left) {
            match conversation.fetch(segment).await {
                Ok(_) => {}
                Err(EngineError::Command(gone @ CommandError::Forgotten)) => {
                    settings.printer.say(&gone.to_string());
                    left.insert(segment);
                }
                Err(EngineError::Command(CommandError::NotHere(_))) => {
                    settings.printer.say("no other device has given it yet");
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    };
    match timeout(patience, fetching).await {
        Ok(done) => done,
        Err(_) => {
            settings.printer.say("no other device has answered in time");
            Ok(())
        }
    }
}

/// The newest segment that is missing from a page and can be had from others.
fn next(listed: &Listed, left: &BTreeSet<u32>) -> Option<u32> {
    let mut missing = listed.missing.iter();
    let next = missing.find(|(of, why)| *why != Away::Forgotten && !left.contains(of))?;
    Some(next.0)
}

/// That messages of a page are not here, and who may have them.
fn absent(listed: &Listed, info: &ConversationInfo) -> Option<String> {
    let all = listed.missing.len();
    let away = listed.missing.iter();
    let away = away.filter(|(_, why)| *why != Away::Forgotten).count();
    if all == 0 {
        return None;
    }
    if away == 0 {
        return Some(format!(
            "messages may be missing from this page: {all} segments are not on this device, and cannot be \
             fetched: the keys that would open them were forgotten"
        ));
    }
    let devices = info.peers.iter().map(|peer| harmless(&peer.name));
    let devices: Vec<_> = devices.collect();
    Some(format!(
        "messages may be missing from this page: {away} segments are not on this device; `--fetch` asks \
         {} for them",
        devices.join(", ")
    ))
}
