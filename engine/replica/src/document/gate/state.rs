//! Operations on the application state: below the root `document`, anything that Automerge takes
//! safely, as long as all that an operation refers to is in its place and in its causal past.

use std::collections::BTreeMap;
use std::sync::Arc;

use automerge::legacy::{ElementId, Key, MarkData, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, ExpandedChange, ObjType, ScalarValue};

use crate::document::bound;
use crate::document::error::Refusal;
use crate::document::genesis::Genesis;
use crate::document::index::{Fact, Index, Object, ObjectKind, OpRef, Past, Role, Slot};

/// What a change does to the application state.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) objects: Vec<(OpRef, Object)>,
    pub(super) facts: Vec<(OpRef, Fact)>,
    pub(super) has_marks: bool,
}

/// Examines every operation of a change.
pub(super) fn examine(
    index: &Index,
    past: &Past,
    genesis: &Genesis,
    actor: &[u8; 16],
    change: &ExpandedChange,
) -> Result<Found, Refusal> {
    let root = OpRef {
        counter: Genesis::document_op(),
        actor: *genesis.actor(),
    };
    let mut examination = Examination {
        index,
        past,
        root,
        objects: BTreeMap::new(),
        facts: BTreeMap::new(),
        open_mark: None,
        has_marks: false,
    };
    let mut counter = change.start_op.get();
    for op in &change.operations {
        examination.operation(
            OpRef {
                counter,
                actor: *actor,
            },
            op,
        )?;
        counter = counter.checked_add(1).ok_or(Refusal::OpCounter)?;
    }
    if examination.open_mark.is_some() {
        return Err(Refusal::WrongOperation);
    }
    Ok(Found {
        objects: examination.objects.into_iter().collect(),
        facts: examination.facts.into_iter().collect(),
        has_marks: examination.has_marks,
    })
}

/// The operations of one change so far, over the index.
struct Examination<'a> {
    index: &'a Index,
    past: &'a Past,
    root: OpRef,
    objects: BTreeMap<OpRef, Object>,
    facts: BTreeMap<OpRef, Fact>,
    /// Object of a mark that has begun; its end must be the next operation.
    open_mark: Option<OpRef>,
    has_marks: bool,
}

impl Examination<'_> {
    fn operation(&mut self, id: OpRef, op: &Op) -> Result<(), Refusal> {
        let object = self.object_of(op)?;
        let kind = self.object(&object).ok_or(Refusal::UnknownObject)?;
        let slot = self.slot(id, &object, kind.kind, op)?;
        let overwritten = self.predecessors(&object, &slot, op)?;
        let ends_mark = matches!(op.action, OpType::MarkEnd(_));
        match self.open_mark.take() {
            Some(begun) if !ends_mark || begun != object => return Err(Refusal::WrongOperation),
            None if ends_mark => return Err(Refusal::WrongOperation),
            Some(_) | None => {}
        }
        let role = self.action(id, &object, kind, op, &overwritten)?;
        if let Some(role) = role {
            self.facts.insert(id, Fact { object, slot, role });
        }
        Ok(())
    }

    fn object_of(&self, op: &Op) -> Result<OpRef, Refusal> {
        match &op.obj {
            ObjectId::Root => Err(Refusal::UnknownObject),
            ObjectId::Id(id) => reference(id).ok_or(Refusal::UnknownObject),
        }
    }

    fn object(&self, id: &OpRef) -> Option<Object> {
        if *id == self.root {
            return Some(Object {
                kind: ObjectKind::Map,
                depth: 1,
            });
        }
        self.objects
            .get(id)
            .copied()
            .or_else(|| self.index.object(self.past, id))
    }

    fn fact(&self, id: &OpRef) -> Option<&Fact> {
        self.facts
            .get(id)
            .or_else(|| self.index.fact(self.past, id))
    }

    /// Where the operation stands, if that fits the object and is there.
    fn slot(&self, id: OpRef, object: &OpRef, kind: ObjectKind, op: &Op) -> Result<Slot, Refusal> {
        match (kind, &op.key) {
            (ObjectKind::Map, Key::Map(key)) if !op.insert => {
                if key.is_empty() || key.len() > bound::KEY_BYTES_MAX {
                    return Err(Refusal::StateBounds);
                }
                Ok(Slot::Key(Arc::from(key.as_str())))
            }
            (ObjectKind::List | ObjectKind::Text, Key::Seq(element)) => {
                self.element(id, object, element, op.insert)
            }
            (ObjectKind::Map | ObjectKind::List | ObjectKind::Text, Key::Map(_) | Key::Seq(_)) => {
                Err(Refusal::WrongOperation)
            }
        }
    }

    fn element(
        &self,
        id: OpRef,
        object: &OpRef,
        element: &ElementId,
        insert: bool,
    ) -> Result<Slot, Refusal> {
        let element = match element {
            ElementId::Head if insert => return Ok(Slot::Element(id)),
            ElementId::Head => return Err(Refusal::WrongOperation),
            ElementId::Id(element) => reference(element).ok_or(Refusal::UnknownOperation)?,
        };
        // An element is the operation that inserted it, and that stands at itself.
        let fact = self.fact(&element).ok_or(Refusal::UnknownOperation)?;
        let inserted = fact.object == *object && fact.slot == Slot::Element(element);
        if !inserted || (!insert && fact.role == Role::Mark) {
            return Err(Refusal::UnknownOperation);
        }
        Ok(Slot::Element(if insert { id } else { element }))
    }

    /// What the operation overwrites: distinct values in the same place.
    fn predecessors(&self, object: &OpRef, slot: &Slot, op: &Op) -> Result<Vec<Role>, Refusal> {
        let mut roles = Vec::with_capacity(op.pred.len());
        let mut last = None;
        for pred in op.pred.iter() {
            let pred = reference(pred).ok_or(Refusal::UnknownOperation)?;
            let fact = self.fact(&pred).ok_or(Refusal::UnknownOperation)?;
            let in_place = fact.object == *object && fact.slot == *slot;
            if !in_place || fact.role == Role::Mark || last >= Some(pred) {
                return Err(Refusal::UnknownOperation);
            }
            last = Some(pred);
            roles.push(fact.role);
        }
        if op.insert && !roles.is_empty() {
            return Err(Refusal::WrongOperation);
        }
        Ok(roles)
    }

    /// What the operation leaves behind, if it may be done to an object of this kind.
    fn action(
        &mut self,
        id: OpRef,
        at: &OpRef,
        object: Object,
        op: &Op,
        overwritten: &[Role],
    ) -> Result<Option<Role>, Refusal> {
        let in_text = object.kind == ObjectKind::Text;
        match &op.action {
            OpType::Make(made) if !in_text => {
                let kind = match made {
                    ObjType::Map => ObjectKind::Map,
                    ObjType::List => ObjectKind::List,
                    ObjType::Text => ObjectKind::Text,
                    ObjType::Table => return Err(Refusal::WrongOperation),
                };
                let depth = object.depth.saturating_add(1);
                if depth > bound::DEPTH_MAX {
                    return Err(Refusal::StateBounds);
                }
                self.objects.insert(id, Object { kind, depth });
                Ok(Some(Role::Value))
            }
            OpType::Put(value) => put(value, in_text).map(Some),
            OpType::Delete if !op.insert && !overwritten.is_empty() => Ok(None),
            OpType::Increment(step) => increment(*step, in_text || op.insert, overwritten),
            OpType::MarkBegin(mark) if in_text && op.insert => {
                check_mark(mark)?;
                self.open_mark = Some(*at);
                self.has_marks = true;
                Ok(Some(Role::Mark))
            }
            OpType::MarkEnd(_) if in_text && op.insert => Ok(Some(Role::Mark)),
            OpType::Make(_) | OpType::Delete | OpType::MarkBegin(_) | OpType::MarkEnd(_) => {
                Err(Refusal::WrongOperation)
            }
        }
    }
}

fn put(value: &ScalarValue, in_text: bool) -> Result<Role, Refusal> {
    let bounded = |length: usize| length <= bound::SCALAR_BYTES_MAX;
    match value {
        ScalarValue::Str(text) if bounded(text.len()) && !(in_text && text.is_empty()) => {
            Ok(Role::Value)
        }
        ScalarValue::Str(_) => Err(Refusal::StateBounds),
        _ if in_text => Err(Refusal::WrongOperation),
        ScalarValue::Bytes(bytes) if !bounded(bytes.len()) => Err(Refusal::StateBounds),
        ScalarValue::Counter(counter)
            if i64::from(counter).unsigned_abs() > bound::COUNTER_STEP_MAX =>
        {
            Err(Refusal::StateBounds)
        }
        ScalarValue::Counter(_) => Ok(Role::Counter),
        ScalarValue::Unknown { .. } => Err(Refusal::WrongOperation),
        ScalarValue::Bytes(_)
        | ScalarValue::Int(_)
        | ScalarValue::Uint(_)
        | ScalarValue::F64(_)
        | ScalarValue::Timestamp(_)
        | ScalarValue::Boolean(_)
        | ScalarValue::Null => Ok(Role::Value),
    }
}

fn increment(step: i64, wrong: bool, overwritten: &[Role]) -> Result<Option<Role>, Refusal> {
    let counters = overwritten.iter().all(|role| *role == Role::Counter);
    if wrong || overwritten.is_empty() || !counters {
        return Err(Refusal::WrongOperation);
    }
    if step.unsigned_abs() > bound::COUNTER_STEP_MAX {
        return Err(Refusal::StateBounds);
    }
    Ok(None)
}

fn check_mark(mark: &MarkData) -> Result<(), Refusal> {
    if mark.name.is_empty() || mark.name.len() > bound::KEY_BYTES_MAX {
        return Err(Refusal::StateBounds);
    }
    match put(&mark.value, false)? {
        Role::Value => Ok(()),
        Role::Counter | Role::Mark => Err(Refusal::WrongOperation),
    }
}

fn reference(id: &OpId) -> Option<OpRef> {
    Some(OpRef {
        counter: id.counter(),
        actor: actor_bytes(id.actor())?,
    })
}

fn actor_bytes(actor: &ActorId) -> Option<[u8; 16]> {
    actor.to_bytes().try_into().ok()
}
