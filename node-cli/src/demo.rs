//! `sheaf demo`: a relay and three devices of two people on this machine, at work and checked.

mod bars;
mod cast;
mod latency;
mod play;
mod player;
mod proof;
mod report;
mod script;
mod sight;
mod tracker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sheaf_engine::ConversationId;
use sheaf_engine::document::ObjectId;

use crate::arguments::DemoArguments;
use crate::exit::{Code, Failure};
use crate::request::Settings;

use bars::Bars;
use cast::Cast;
use play::Play;
use report::{Report, Times, Traffic};
use script::{Act, Script};

/// How long the devices have to agree after the last line was played.
const CONVERGE_MAX: Duration = Duration::from_secs(600);

/// The devices on the stage, shared by the tasks that play.
type Players = Arc<[player::Player; player::COUNT]>;

/// Plays, measures, compares and reports.
///
/// # Errors
/// [`Code::Integrity`] when any two devices differ at the end.
pub(crate) async fn demo(settings: &Settings, arguments: DemoArguments) -> Result<(), Failure> {
    let script = Script::read(arguments)?;
    let home = tempfile::Builder::new().prefix("sheaf-demo-").tempdir()?;
    let bars = Bars::new(settings.printer, script.lines());
    bars.say("a relay starts, two people create accounts, a phone is linked by its six digits");
    let cast = Box::pin(Cast::assemble(home.path(), &bars)).await?;
    let report = Box::pin(perform(cast, &script, &bars)).await;
    bars.finish();
    let report = report?;
    settings.printer.show(&report, Report::text)?;
    if report.is_equal() {
        return Ok(());
    }
    Err(Failure::new(
        Code::Integrity,
        "the devices do not hold the same",
    ))
}

async fn perform(mut cast: Cast, script: &Script, bars: &Bars) -> Result<Report, Failure> {
    let (begun, before) = (Instant::now(), cast.taken());
    let mut play = Play::new(script);
    play.act(Act::Online, &cast.players).await?;

    play.prepare(Act::Offline, &cast.players).await?;
    bars.say("the phone goes offline; both sides go on writing");
    cast = cast.reopen_phone(false).await?;
    play.act(Act::Offline, &cast.players).await?;
    edit_apart(&cast.players, play.first()?).await?;
    let back = Instant::now();
    cast = cast.reopen_phone(true).await?;
    let mut equal = proof::wait_equal(&cast.players, CONVERGE_MAX).await?;
    let rejoined = back.elapsed();

    bars.say("the phone is back and agrees; the rest is played");
    play.act(Act::OnlineAgain, &cast.players).await?;
    let last = Instant::now();
    equal &= proof::wait_equal(&cast.players, CONVERGE_MAX).await?;
    let times = Times {
        played: last.duration_since(begun),
        rejoined,
        converged: last.elapsed(),
    };
    let traffic = Traffic::between(before, cast.taken(), play.sent());
    bars.finish();

    bars.say("measuring from send to seen, one message at a time");
    let latency = latency::measure(&cast.players, play.first()?).await?;
    equal &= proof::wait_equal(&cast.players, CONVERGE_MAX).await?;
    bars.say("comparing every message and every document head");
    let expected = play.sent() + latency.messages();
    let proof = proof::compare(&cast.players, expected, equal).await?;
    let sight = cast.sight(play.first()?).await?;
    cast.close().await?;
    Ok(Report::new(
        proof,
        times,
        latency,
        traffic,
        sight,
        (script.left_out(), play.unlinked()),
    ))
}

/// Edits the shared document on both sides while the phone is away: different fields, and one that
/// both change.
async fn edit_apart(players: &Players, first: ConversationId) -> Result<(), Failure> {
    for player in players.iter() {
        let conversation = player.conversation(first).await?;
        let seat = &player.seat;
        let (own, name) = (format!("note of {}", seat.name()), seat.name());
        conversation
            .change(move |document| {
                document.put(&ObjectId::ROOT, own, "written apart")?;
                document.put(&ObjectId::ROOT, "last editor", name)
            })
            .await?;
    }
    Ok(())
}
