//! What a device has seen, and when: one task reads its events and answers questions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use indicatif::ProgressBar;
use sheaf_engine::{ConversationId, Event, EventStream, MessageId};
use tokio::sync::{mpsc, oneshot};

/// Arrivals remembered; older ones are looked up in the store.
const ARRIVALS_MAX: usize = 65_536;
/// Questions that wait for the task.
const QUESTIONS_MAX: usize = 256;

enum Question {
    Message(MessageId, oneshot::Sender<Instant>),
    Conversation(ConversationId, oneshot::Sender<()>),
    Digits(oneshot::Sender<String>),
    LinkRequested(oneshot::Sender<()>),
    LinkCompleted(oneshot::Sender<()>),
}

/// Asks the task.
#[derive(Debug, Clone)]
pub(super) struct Tracker(mpsc::Sender<Question>);

#[derive(Default)]
struct Seen {
    arrivals: BTreeMap<MessageId, Instant>,
    conversations: BTreeSet<ConversationId>,
    digits: Option<String>,
    link_requested: bool,
    link_completed: bool,
    waiting: Vec<Question>,
    lost: u64,
}

impl Tracker {
    /// Starts reading events; the bar counts messages that arrive.
    pub(super) fn start(events: EventStream, bar: ProgressBar) -> Self {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        tokio::spawn(follow(events, asked, bar));
        Self(questions)
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.send(question(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Waits until a message of another device is here and says when it came. `None` once the
    /// device is closed.
    pub(super) async fn message(&self, message: MessageId) -> Option<Instant> {
        self.ask(|answer| Question::Message(message, answer)).await
    }

    /// Waits until a conversation is here.
    pub(super) async fn conversation(&self, conversation: ConversationId) -> Option<()> {
        self.ask(|answer| Question::Conversation(conversation, answer))
            .await
    }

    /// Waits for the digits to compare.
    pub(super) async fn digits(&self) -> Option<String> {
        self.ask(Question::Digits).await
    }

    /// Waits until a new device asks to be linked.
    pub(super) async fn link_requested(&self) -> Option<()> {
        self.ask(Question::LinkRequested).await
    }

    /// Waits until this device belongs to an account.
    pub(super) async fn link_completed(&self) -> Option<()> {
        self.ask(Question::LinkCompleted).await
    }
}

async fn follow(mut events: EventStream, mut asked: mpsc::Receiver<Question>, bar: ProgressBar) {
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => seen.take(event, &bar),
                None => return,
            },
            question = asked.recv() => match question {
                Some(question) => seen.waiting.push(question),
                None => return,
            },
        }
        seen.answer();
    }
}

impl Seen {
    #[expect(clippy::wildcard_enum_match_arm, reason = "nobody asks for the rest")]
    fn take(&mut self, event: Event, bar: &ProgressBar) {
        match event {
            Event::MessagesReceived { messages, .. } => {
                let now = Instant::now();
                bar.inc(u64::try_from(messages.len()).unwrap_or(0));
                let arrived = messages.iter().map(|message| (message.message, now));
                self.arrivals.extend(arrived);
                while self.arrivals.len() > ARRIVALS_MAX {
                    self.arrivals.pop_first();
                }
            }
            Event::ConversationAdded { conversation, .. } => {
                self.conversations.insert(conversation);
            }
            Event::LinkDigits { digits, .. } => self.digits = Some(digits),
            Event::LinkRequested { .. } => self.link_requested = true,
            Event::LinkCompleted { .. } => self.link_completed = true,
            Event::EventsLost { count } => {
                self.lost += count;
                tracing::debug!(count, lost = self.lost, "events were lost");
            }
            _ => {}
        }
    }

    /// Answers what can be answered; who no longer waits is forgotten.
    fn answer(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for question in waiting {
            if let Some(later) = self.try_answer(question) {
                self.waiting.push(later);
            }
        }
    }

    fn try_answer(&self, question: Question) -> Option<Question> {
        match question {
            Question::Message(message, answer) if !answer.is_closed() => {
                match self.arrivals.get(&message) {
                    Some(arrived) => tell(answer, *arrived),
                    None => return Some(Question::Message(message, answer)),
                }
            }
            Question::Conversation(id, answer) if !answer.is_closed() => {
                if !self.conversations.contains(&id) {
                    return Some(Question::Conversation(id, answer));
                }
                tell(answer, ());
            }
            Question::Digits(answer) => match &self.digits {
                Some(digits) => tell(answer, digits.clone()),
                None => return Some(Question::Digits(answer)),
            },
            Question::LinkRequested(answer) if !self.link_requested => {
                return Some(Question::LinkRequested(answer));
            }
            Question::LinkCompleted(answer) if !self.link_completed => {
                return Some(Question::LinkCompleted(answer));
            }
            Question::LinkRequested(answer) | Question::LinkCompleted(answer) => {
                tell(answer, ());
            }
            Question::Message(..) | Question::Conversation(..) => {}
        }
        None
    }
}

/// Answers. Whoever asked may have given up; then the answer goes nowhere.
fn tell<T>(answer: oneshot::Sender<T>, value: T) {
    if answer.send(value).is_err() {
        tracing::trace!("nobody waits for the answer");
    }
}
