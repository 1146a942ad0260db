//! `sheaf message import`.

use std::collections::{BTreeMap, VecDeque};
use std::future::{poll_fn, ready};
use std::path::PathBuf;
use std::task::Poll;

use indicatif::ProgressBar;
use serde::Serialize;
use sheaf_engine::{Conversation, EngineError, ImportDraft, MessageId};
use tokio::task::JoinHandle;

use crate::exit::{Code, Failure};
use crate::interchange::{Batch, Line, Lines};
use crate::request::Settings;
use crate::resolve;
use crate::session::{Reach, with_engine};

/// Import calls under way at once.
const IN_FLIGHT_MAX: usize = 4;

#[derive(Serialize)]
struct Imported {
    imported: u64,
    skipped: u64,
}

/// One call that has not been answered.
struct Flight {
    places: Vec<Place>,
    done: JoinHandle<Result<Vec<MessageId>, EngineError>>,
}

/// Conversation of the file, by number, and place in it.
type Place = (u32, u64);

/// An import under way. Replies that name a line of a call under way wait for its ids.
struct Importer {
    conversation: Conversation,
    sources: BTreeMap<String, u32>,
    known: BTreeMap<Place, MessageId>,
    flights: VecDeque<Flight>,
    batch: Batch<Place>,
    progress: ProgressBar,
    imported: u64,
    skipped: u64,
}

/// Imports a file of JSON lines into one conversation.
pub(super) async fn import(
    settings: &Settings,
    typed: String,
    file: PathBuf,
) -> Result<(), Failure> {
    settings.home.expect_store()?;
    let mut total = 0_u64;
    for line in Lines::open(&file)? {
        line?;
        total += 1;
    }
    let lines = Lines::open(&file)?;
    let imported = with_engine(settings, Reach::Offline, |engine| async move {
        let (conversation, _) = resolve::conversation(&engine, &typed).await?;
        let progress = settings.printer.progress(total, "importing");
        let mut importer = Importer {
            conversation,
            sources: BTreeMap::new(),
            known: BTreeMap::new(),
            flights: VecDeque::new(),
            batch: Batch::default(),
            progress,
            imported: 0,
            skipped: 0,
        };
        let end = importer.run(lines).await;
        importer.progress.finish_and_clear();
        let imported = importer.imported;
        end.map_err(|failure| partial(failure, imported))?;
        Ok(Imported {
            imported,
            skipped: importer.skipped,
        })
    })
    .await?;
    settings.printer.show(&imported, |imported| {
        let Imported { imported, skipped } = imported;
        format!("{imported} messages imported, {skipped} without text skipped")
    })
}

/// What is imported stays imported: a failure after the first call is a partial success.
fn partial(failure: Failure, imported: u64) -> Failure {
    if imported == 0 {
        return failure;
    }
    Failure::new(
        Code::Partial,
        format!("{imported} messages were imported, then: {failure}"),
    )
}

impl Importer {
    async fn run(&mut self, lines: Lines) -> Result<(), Failure> {
        for line in lines {
            self.take(line?).await?;
        }
        self.fly().await?;
        while !self.flights.is_empty() {
            self.land().await?;
        }
        Ok(())
    }

    async fn take(&mut self, line: Line) -> Result<(), Failure> {
        if line.text.is_empty() {
            self.skipped += 1;
            self.progress.inc(1);
            return Ok(());
        }
        if !self.batch.has_room(&line) {
            self.fly().await?;
        }
        let next = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        let source = match self.sources.get(&line.conversation) {
            Some(source) => *source,
            None => {
                self.sources.insert(line.conversation.clone(), next);
                next
            }
        };
        let answered = line.reply_to.map(|seq| (source, seq));
        let mut reply_to = None;
        if let Some(place) = answered
            && !self.batch.holds(&place)
        {
            while self
                .flights
                .iter()
                .any(|flight| flight.places.contains(&place))
            {
                self.land().await?;
            }
            // A line that answers something outside the file stands alone.
            reply_to = self.known.get(&place).copied();
        }
        self.batch
            .push((source, line.seq), &line, reply_to, answered);
        Ok(())
    }

    /// Sends the batch off.
    async fn fly(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        while self.flights.len() >= IN_FLIGHT_MAX {
            self.land().await?;
        }
        let (places, drafts): (Vec<Place>, Vec<ImportDraft>) = self.batch.take();
        let conversation = self.conversation.clone();
        let call = async move { conversation.import(drafts).await };
        let mut call = Box::pin(tokio::task::unconstrained(call));
        // It is asked for here, in the order of the file; a task might be begun after the next one.
        let asked = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        let done = match asked {
            Poll::Pending => tokio::spawn(call),
            Poll::Ready(done) => tokio::spawn(ready(done)),
        };
        self.flights.push_back(Flight { places, done });
        Ok(())
    }

    /// Waits for the oldest call.
    async fn land(&mut self) -> Result<(), Failure> {
        let Some(flight) = self.flights.pop_front() else {
            return Ok(());
        };
        let answered = flight.done.await;
        let ids = answered.map_err(|error| Failure::failed(format!("import ended: {error}")))??;
        let count = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        self.imported += count;
        self.progress.inc(count);
        self.known.extend(flight.places.into_iter().zip(ids));
        Ok(())
    }
}
