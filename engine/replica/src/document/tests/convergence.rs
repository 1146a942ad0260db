use automerge::ObjType;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(u8, u8),
    Put(u8, u8),
    Write(u8, u8),
    Add(u8),
    /// The second takes all that the first has.
    Meet(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..3, 1_u8..4).prop_map(|(device, count)| Step::Append(device, count)),
        1 => (0_u8..3, 0_u8..3).prop_map(|(device, key)| Step::Put(device, key)),
        2 => (0_u8..3, any::<u8>()).prop_map(|(device, at)| Step::Write(device, at)),
        1 => (0_u8..3).prop_map(Step::Add),
        2 => (0_u8..3, 0_u8..3).prop_map(|(from, to)| Step::Meet(from, to)),
    ]
}

struct World {
    devices: Vec<Segment>,
    written: Vec<(u8, LocalChange)>,
    ms: u64,
}

impl World {
    fn take(&mut self, step: &Step) {
        self.ms += 1;
        let change = match *step {
            Step::Append(device, count) => {
                let messages: Vec<_> = (0..u64::from(count))
                    .map(|more| text(device, self.ms + more, "m"))
                    .collect();
                self.ms += u64::from(count);
                Some((
                    device,
                    self.devices[usize::from(device)]
                        .append(actor(device), &messages)
                        .unwrap(),
                ))
            }
            Step::Put(device, key) => self.edit(device, |tx| {
                tx.put(&ObjectId::ROOT, format!("k{key}"), i64::from(device))
            }),
            Step::Write(device, at) => self.edit(device, |tx| write(tx, at)),
            Step::Add(device) => self.edit(device, |tx| match tx.scalar(&ObjectId::ROOT, "n")? {
                Some(_) => tx.increment(&ObjectId::ROOT, "n", 1),
                None => tx.put(&ObjectId::ROOT, "n", Scalar::Counter(0)),
            }),
            Step::Meet(from, to) => {
                let known = self.devices[usize::from(to)].heads();
                let all = self.devices[usize::from(from)].changes_after(&known);
                let batch: Vec<_> = self
                    .written
                    .iter()
                    .filter(|(_, change)| all.contains(&change.bytes))
                    .map(|(device, change)| self::from(*device, &[change]))
                    .collect();
                assert!(self.devices[usize::from(to)].merge(&batch).iter().all(
                    |outcome| matches!(outcome, Outcome::Applied { .. } | Outcome::Duplicate)
                ));
                None
            }
        };
        self.written.extend(change);
    }

    fn edit(
        &mut self,
        device: u8,
        edit: impl FnOnce(&mut DocumentTransaction<'_, '_>) -> Result<(), DocumentError>,
    ) -> Option<(u8, LocalChange)> {
        let change = self.devices[usize::from(device)]
            .change(actor(device), edit)
            .unwrap()?;
        Some((device, change))
    }
}

fn write(tx: &mut DocumentTransaction<'_, '_>, at: u8) -> Result<(), DocumentError> {
    let Some(body) = tx.object(&ObjectId::ROOT, "body")? else {
        tx.put_object(&ObjectId::ROOT, "body", ObjType::Text)?;
        return Ok(());
    };
    let length = tx.length(&body);
    let at = usize::from(at) % (length + 1);
    match at % 4 {
        0 if length > at => tx.splice_text(&body, at, 1, "")?,
        1 if length > at => tx.mark(&body, at..length, "bold", true)?,
        _ => tx.splice_text(&body, at, 0, "ab")?,
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_order_of_delivery_ends_alike(
        steps in proptest::collection::vec(step(), 1..40),
        order in proptest::collection::vec(any::<u16>(), 60),
        size in 1_usize..7,
    ) {
        let mut world = World { devices: (0..3).map(|_| fresh()).collect(), written: Vec::new(), ms: 0 };
        for step in &steps {
            world.take(step);
        }
        let all: Vec<_> = world.written.iter().map(|(device, change)| from(*device, &[change])).collect();
        let mut shuffled: Vec<_> = all.iter().enumerate().map(|(number, one)| (order[number % order.len()], one.clone())).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let mut replica = fresh();
        let mut parked: Vec<Incoming> = Vec::new();
        for batch in shuffled.chunks(size) {
            let mut batch: Vec<_> = batch.iter().map(|(_, one)| one.clone()).collect();
            batch.append(&mut parked);
            for (outcome, one) in replica.merge(&batch).into_iter().zip(batch) {
                match outcome {
                    Outcome::Missing(_) => parked.push(one),
                    Outcome::Applied { .. } | Outcome::Duplicate => {}
                    Outcome::Refused(refusal) => panic!("refused: {refusal}"),
                }
            }
        }
        prop_assert!(parked.is_empty());
        let expected = fresh_with(&all);
        for device in &mut world.devices {
            device.merge(&all);
            prop_assert_eq!(device.heads(), replica.heads());
            prop_assert!(device.messages().eq(replica.messages()));
            prop_assert!(device.map_snapshot() == replica.map_snapshot());
        }
        prop_assert_eq!(expected.heads(), replica.heads());
        let loaded = Segment::load(&CONVERSATION, 0, &replica.save().unwrap()).unwrap();
        prop_assert!(loaded.map_snapshot() == replica.map_snapshot());
    }
}

fn fresh_with(all: &[Incoming]) -> Segment {
    let mut segment = fresh();
    segment.merge(all);
    segment
}
