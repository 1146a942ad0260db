//! `sheaf run`.

use std::cell::Cell;
use std::time::Duration;

use sheaf_engine::{Engine, Event, EventStream, has_room};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::exit::{Code, Failure};
use crate::request::Settings;
use crate::session::{Reach, with_engine};

use super::event::show_event;
use super::progress::{Lines, Meter};

/// Wrong passphrases that a locked program takes before it ends.
const ATTEMPTS_MAX: usize = 3;

/// How often it is looked whether there is room on a full disk again.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(2);

/// Why it is not connected any more.
enum End {
    Signal,
    /// Nothing happened for the time after which the store is to be closed.
    Idle,
    /// The disk is full.
    NoRoom,
}

/// The signals that end it in order.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// Stays connected and prints what happens, until a signal ends it in order.
pub(super) async fn run(settings: &Settings, lock_after: Option<Duration>) -> Result<(), Failure> {
    super::sync::expect_relay(settings)?;
    let mut signals = Signals {
        interrupt: listen(SignalKind::interrupt())?,
        terminate: listen(SignalKind::terminate())?,
    };
    let mut wrong = 0;
    loop {
        match once(settings, lock_after, &mut signals).await {
            Ok(End::Signal) => return Ok(()),
            Ok(End::NoRoom) => {
                settings.printer.say("waiting for room on the disk");
                if !wait_for_room(settings, &mut signals).await {
                    return Ok(());
                }
                continue;
            }
            Ok(End::Idle) => {
                wrong = 0;
                settings.printer.say("locked");
            }
            // Asked again after a lock; at the start one wrong passphrase is enough.
            Err(failure) if failure.code == Code::WrongPassphrase && wrong > 0 => {
                settings.printer.say(&failure.to_string());
            }
            Err(failure) => return Err(failure),
        }
        // The store is closed and its keys are gone; only a person may open it again.
        if !settings.secret.is_typed() {
            let failure = Failure::new(Code::Locked, "locked after nothing had happened");
            return Err(failure.advise(
                "start it again; at a terminal, without a file or variable that holds the \
                 secret, it asks for the passphrase instead",
            ));
        }
        wrong += 1;
        if wrong > ATTEMPTS_MAX {
            return Err(Failure::new(
                Code::WrongPassphrase,
                "three wrong passphrases",
            ));
        }
    }
}

/// Opens the store and stays connected until one of the two ends.
async fn once(
    settings: &Settings,
    lock_after: Option<Duration>,
    signals: &mut Signals,
) -> Result<End, Failure> {
    let full = Cell::new(false);
    let noted = &full;
    let done = with_engine(settings, Reach::Online, |engine| async move {
        let events = engine.events();
        settings
            .printer
            .say("connected devices stay in step until Ctrl-C");
        let end = tokio::select! {
            end = show_all(settings, &engine, events, lock_after) => end,
            _ = signals.interrupt.recv() => Ok(End::Signal),
            _ = signals.terminate.recv() => Ok(End::Signal),
        };
        noted.set(matches!(end, Ok(End::NoRoom)));
        end
    })
    .await;
    // What cannot be written cannot be closed in order either.
    if full.get() { Ok(End::NoRoom) } else { done }
}

/// Waits until the store can be written again; `false` if a signal came first.
async fn wait_for_room(settings: &Settings, signals: &mut Signals) -> bool {
    while !has_room(&settings.home.state()) {
        tokio::select! {
            () = tokio::time::sleep(LOOK_FOR_ROOM) => {}
            _ = signals.interrupt.recv() => return false,
            _ = signals.terminate.recv() => return false,
        }
    }
    true
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))
}

async fn show_all(
    settings: &Settings,
    engine: &Engine,
    mut events: EventStream,
    lock_after: Option<Duration>,
) -> Result<End, Failure> {
    let mut since = Instant::now();
    let mut meter = Meter::new(settings.printer, Lines::Output);
    loop {
        let idle = async {
            match lock_after {
                Some(after) => sleep_until(since + after).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = events.next() => event,
            () = idle => return Ok(End::Idle),
        };
        let Some(event) = event else { break };
        if !is_of_the_link(&event) {
            since = Instant::now();
        }
        if matches!(event, Event::Progress(_)) {
            meter.heed(&event)?;
            continue;
        }
        meter.clear();
        if let Event::StoreFailed { reason, full } = &event {
            if !*full {
                return Err(Failure::failed(format!("the store failed: {reason}"))
                    .advise("`sheaf store check` says what is damaged"));
            }
            show_event(settings, engine, event).await?;
            return Ok(End::NoRoom);
        }
        show_event(settings, engine, event).await?;
    }
    Err(Failure::failed("the engine ended"))
}

/// A connection that comes and goes is nothing that happened; progress comes with what did.
fn is_of_the_link(event: &Event) -> bool {
    matches!(
        event,
        Event::Connected { .. }
            | Event::Disconnected { .. }
            | Event::LifeCycleChanged { .. }
            | Event::CaughtUp
            | Event::Progress(_)
    )
}
