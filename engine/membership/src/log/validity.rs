//! Whether an operation is allowed where it was written (research/keys.md 2.3).

use std::sync::Arc;

use super::graph::{Graph, Removal};
use crate::operation::{Act, Key, Operation, Rank};
use crate::refusal::Refusal;
use crate::view::{Member, RemovalFact, View};

/// The two halves of an allowed operation.
#[derive(Debug)]
pub(crate) struct Halves<I, S> {
    pub(crate) grant: Option<(S, Rank)>,
    pub(crate) removal: Option<Removal<I, S>>,
}

/// What an operation is judged by.
#[derive(Debug)]
pub(crate) struct Court<'a, I, S, F> {
    pub(crate) graph: &'a Graph<I, S>,
    /// The view of the operation's parents.
    pub(crate) view: &'a View<I, S>,
    pub(crate) operation: &'a Operation<I, S>,
    /// The author's incarnation, and its rank.
    pub(crate) incarnation: usize,
    pub(crate) rank: Rank,
    pub(crate) index_of: F,
}

impl<I: Key, S: Key, F: Fn(&I) -> Option<usize>> Court<'_, I, S, F> {
    pub(crate) fn judge(&self) -> Result<Halves<I, S>, Refusal> {
        match &self.operation.act {
            Act::Grant { to, rank } => self.judge_grant(*to, *rank),
            Act::Remove { subject, named } => {
                if *subject == self.operation.author {
                    self.judge_leaving(named)
                } else {
                    self.judge_removal(*subject, named)
                }
            }
            Act::Regrant {
                subject,
                named,
                rank,
            } => {
                if *subject == self.operation.author {
                    return Err(Refusal::NotSenior);
                }
                let removed = self.judge_removal(*subject, named)?;
                at_most_admin(*rank)?;
                Ok(Halves {
                    grant: Some((*subject, *rank)),
                    ..removed
                })
            }
            Act::Transfer { to } => self.judge_transfer(*to),
            Act::Other { least } => {
                self.at_least(*least)?;
                Ok(Halves {
                    grant: None,
                    removal: None,
                })
            }
        }
    }

    fn judge_grant(&self, to: S, rank: Rank) -> Result<Halves<I, S>, Refusal> {
        self.at_least(Rank::Admin)?;
        at_most_admin(rank)?;
        if self.view.rank(&to).is_some_and(|present| present >= rank) {
            return Err(Refusal::AlreadyMember);
        }
        Ok(Halves {
            grant: Some((to, rank)),
            removal: None,
        })
    }

    fn judge_leaving(&self, named: &[I]) -> Result<Halves<I, S>, Refusal> {
        let author = self.member(self.operation.author)?;
        not_the_owner(author)?;
        self.removal(self.operation.author, named, author)
    }

    fn judge_removal(&self, subject: S, named: &[I]) -> Result<Halves<I, S>, Refusal> {
        let member = self.member(subject)?;
        self.at_least(Rank::Admin)?;
        not_the_owner(member)?;
        let admin = |live: &&(I, Rank)| live.1 >= Rank::Admin;
        for (incarnation, _) in member.live.iter().filter(admin) {
            let junior = (self.index_of)(incarnation);
            if !junior.is_some_and(|junior| self.graph.is_senior(self.incarnation, junior)) {
                return Err(Refusal::NotSenior);
            }
        }
        self.removal(subject, named, member)
    }

    fn judge_transfer(&self, to: S) -> Result<Halves<I, S>, Refusal> {
        self.at_least(Rank::Owner)?;
        if self.member(to)?.rank != Rank::Admin {
            return Err(Refusal::NotAnAdmin);
        }
        let author = self.member(self.operation.author)?;
        let named: Vec<I> = author.incarnations().collect();
        let removed = self.removal(self.operation.author, &named, author)?;
        Ok(Halves {
            grant: Some((to, Rank::Owner)),
            ..removed
        })
    }

    fn at_least(&self, least: Rank) -> Result<(), Refusal> {
        if self.rank < least {
            return Err(Refusal::RankTooLow);
        }
        Ok(())
    }

    fn member(&self, subject: S) -> Result<&Member<I>, Refusal> {
        self.view.member(&subject).ok_or(Refusal::NotAMember)
    }

    fn removal(
        &self,
        subject: S,
        named: &[I],
        member: &Member<I>,
    ) -> Result<Halves<I, S>, Refusal> {
        let mut named = named.to_vec();
        named.sort_unstable();
        if !member.incarnations().eq(named.iter().copied()) {
            return Err(Refusal::WrongIncarnations);
        }
        let indices = named.iter().filter_map(&self.index_of).collect();
        Ok(Halves {
            grant: None,
            removal: Some(Removal {
                fact: Arc::new(RemovalFact {
                    operation: self.operation.id,
                    subject,
                    named,
                }),
                named: indices,
            }),
        })
    }
}

fn at_most_admin(rank: Rank) -> Result<(), Refusal> {
    if rank > Rank::Admin {
        return Err(Refusal::OwnerOnlyByHimself);
    }
    Ok(())
}

fn not_the_owner<I: Key>(member: &Member<I>) -> Result<(), Refusal> {
    if member.rank == Rank::Owner {
        return Err(Refusal::OwnerOnlyByHimself);
    }
    Ok(())
}
