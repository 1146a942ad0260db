//! What is played: lines in order, cut into conversations and three acts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::arguments::DemoArguments;
use crate::exit::Failure;
use crate::interchange::{Line, Lines};

const SAMPLE: &str = include_str!("sample.jsonl");

/// Where in the whole, in hundredths, the phone goes offline and comes back.
const OFFLINE_FROM: usize = 45;
const OFFLINE_TO: usize = 55;

/// When a line is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Online,
    Offline,
    OnlineAgain,
}

/// The lines, known by their outline only; they are read again as they are played.
#[derive(Debug)]
pub(super) struct Script {
    input: Option<PathBuf>,
    conversations_max: usize,
    messages_max: usize,
    outline: Vec<Outline>,
    lines: usize,
    left_out: u64,
}

/// One conversation: its name and where its lines stand among all.
#[derive(Debug)]
struct Outline {
    name: String,
    first: usize,
    last: usize,
}

/// Lines of one conversation that follow each other within one act.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) conversation: String,
    pub(super) lines: Vec<Line>,
}

impl Script {
    /// Reads through the whole once.
    ///
    /// # Errors
    /// A failure that names the file and line that does not read.
    pub(super) fn read(arguments: DemoArguments) -> Result<Self, Failure> {
        let mut script = Self {
            input: arguments.input,
            conversations_max: arguments.conversations.unwrap_or(usize::MAX),
            messages_max: arguments.messages.unwrap_or(usize::MAX),
            outline: Vec::new(),
            lines: 0,
            left_out: 0,
        };
        let mut outline: BTreeMap<String, Outline> = BTreeMap::new();
        for line in script.selected()? {
            let line = line?;
            if line.text.is_empty() {
                script.left_out += 1;
                continue;
            }
            let known = outline
                .entry(line.conversation.clone())
                .or_insert_with(|| Outline {
                    name: line.conversation,
                    first: script.lines,
                    last: script.lines,
                });
            known.last = script.lines;
            script.lines += 1;
        }
        if script.lines == 0 {
            return Err(Failure::failed("there is nothing to play")
                .advise("give a file with messages, and a limit above zero"));
        }
        script.outline = outline.into_values().collect();
        script.outline.sort_unstable_by_key(|one| one.first);
        Ok(script)
    }

    /// Number of lines.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Number of lines within the limits that have no text, which no message may be without.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    fn source(&self) -> Result<Lines, Failure> {
        match &self.input {
            Some(path) => Lines::open(path),
            None => Ok(Lines::built_in(SAMPLE)),
        }
    }

    /// The lines within the limits, those without text included.
    fn selected(&self) -> Result<impl Iterator<Item = Result<Line, Failure>> + use<>, Failure> {
        let (conversations_max, messages_max) = (self.conversations_max, self.messages_max);
        let mut names: BTreeMap<String, ()> = BTreeMap::new();
        let chosen = self.source()?.filter(move |line| match line {
            Err(_) => true,
            Ok(line) if names.contains_key(&line.conversation) => true,
            Ok(line) => {
                let room = names.len() < conversations_max;
                if room {
                    names.insert(line.conversation.clone(), ());
                }
                room
            }
        });
        Ok(chosen.take(messages_max))
    }

    fn act_of(&self, number: usize) -> Act {
        let hundredths = number.saturating_mul(100) / self.lines.max(1);
        match hundredths {
            early if early < OFFLINE_FROM => Act::Online,
            late if late >= OFFLINE_TO => Act::OnlineAgain,
            _ => Act::Offline,
        }
    }

    /// Names of the conversations that an act plays in.
    pub(super) fn conversations(&self, act: Act) -> impl Iterator<Item = &str> {
        let within =
            move |one: &&Outline| self.act_of(one.first) <= act && act <= self.act_of(one.last);
        self.outline
            .iter()
            .filter(within)
            .map(|one| one.name.as_str())
    }

    /// Name of the first conversation.
    pub(super) fn first(&self) -> &str {
        self.outline.first().map_or("", |one| one.name.as_str())
    }

    /// The chunks of one act, one at a time.
    ///
    /// # Errors
    /// A failure when the file cannot be opened again.
    pub(super) fn chunks(
        &self,
        act: Act,
    ) -> Result<impl Iterator<Item = Result<Chunk, Failure>>, Failure> {
        let spoken =
            |line: &Result<Line, Failure>| !matches!(line, Ok(line) if line.text.is_empty());
        let numbered = self.selected()?.filter(spoken).enumerate();
        let mut lines = numbered
            .skip_while(move |(number, _)| self.act_of(*number) < act)
            .take_while(move |(number, _)| self.act_of(*number) == act)
            .map(|(_, line)| line)
            .peekable();
        Ok(std::iter::from_fn(move || {
            let first = match lines.next()? {
                Ok(line) => line,
                Err(failure) => return Some(Err(failure)),
            };
            let conversation = first.conversation.clone();
            let mut chunk = vec![first];
            let same = |line: &Result<Line, Failure>| matches!(line, Ok(line) if line.conversation == conversation);
            while let Some(Ok(line)) = lines.next_if(same) {
                chunk.push(line);
            }
            Some(Ok(Chunk {
                conversation,
                lines: chunk,
            }))
        }))
    }
}

#[cfg(test)]
mod tests;
