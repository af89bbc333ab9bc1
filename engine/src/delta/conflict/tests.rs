use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn key(path: u32, vector: u32) -> FileKey {
    let vector = (vector > 0).then(|| deltalake_core::kernel::DeletionVectorDescriptor {
        storage_type: deltalake_core::kernel::StorageType::Inline,
        path_or_inline_dv: vector.to_string(),
        offset: None,
        size_in_bytes: 1,
        cardinality: 1,
    });
    FileKey::new(path.to_string(), vector.as_ref())
}

fn removes(paths: &[u32]) -> BTreeSet<FileKey> {
    paths.iter().map(|path| key(*path, 0)).collect()
}

#[test]
fn each_kind_of_overlap_has_its_answer() {
    let append = Intent { removes: [].into(), is_blind: true, app_id: Some("a".to_owned()) };
    let replace = Intent { removes: removes(&[1, 2]), is_blind: false, app_id: Some("a".to_owned()) };
    let compact = Intent { removes: removes(&[1, 2]), is_blind: true, app_id: None };
    let winner = Winner { version: 1, ..Winner::default() };
    let added = Winner { adds_what_we_read: true, ..winner.clone() };
    let removed = Winner { removes: removes(&[2, 3]), ..winner.clone() };
    let elsewhere = Winner { removes: removes(&[3]), ..winner.clone() };
    let metadata = Winner { changes_metadata: true, ..winner.clone() };
    let protocol = Winner { changes_protocol: true, ..winner.clone() };
    let same_job = Winner { app_ids: ["a".to_owned()].into(), ..winner.clone() };
    let table = [
        (&append, &winner, Ok(())),
        (&append, &added, Ok(())),
        (&append, &removed, Ok(())),
        (&append, &metadata, Err(Conflict::Metadata)),
        (&append, &protocol, Err(Conflict::Protocol)),
        (&append, &same_job, Err(Conflict::Transaction)),
        (&replace, &added, Err(Conflict::Added)),
        (&replace, &removed, Err(Conflict::Removed)),
        (&replace, &elsewhere, Ok(())),
        (&compact, &removed, Err(Conflict::Removed)),
        (&compact, &added, Ok(())),
    ];
    for (ours, winner, expected) in table {
        assert_eq!(check(ours, winner), expected, "{ours:?} after {winner:?}");
    }
}

#[test]
fn another_deletion_vector_is_another_file() {
    let ours = Intent { removes: [key(1, 1)].into(), ..Intent::default() };
    let other = Winner { removes: [key(1, 0)].into(), ..Winner::default() };
    let same = Winner { removes: [key(1, 1)].into(), ..Winner::default() };
    assert_eq!(check(&ours, &other), Ok(()));
    assert_eq!(check(&ours, &same), Err(Conflict::Removed));
}

/// What a writer does. Rows are numbers, unique for ever; a partition is one of three.
#[derive(Debug, Clone)]
enum Operation {
    Append(u8),
    Overwrite(u8),
    Replace(u8),
    /// Rewrites the files of a partition as one, `dataChange = false`.
    Compact(u8),
    /// Hides the n-th row of a partition with a deletion vector.
    Delete(u8, usize),
}

#[derive(Debug, Clone, PartialEq)]
struct File {
    path: u32,
    vector: u32,
    part: u8,
    rows: BTreeSet<u32>,
}

impl File {
    fn key(&self) -> FileKey {
        key(self.path, self.vector)
    }
}

/// The rows of each partition, as a table without files would have them.
type Rows = BTreeMap<u8, BTreeSet<u32>>;

fn rows_of(files: &[File]) -> Rows {
    let mut rows = Rows::new();
    for file in files.iter().filter(|file| !file.rows.is_empty()) {
        rows.entry(file.part).or_default().extend(&file.rows);
    }
    rows
}

/// Removes, adds, whether it is blind, what it reads, and its effect on rows.
type Parts = (Vec<File>, Vec<File>, bool, Option<u8>, Box<dyn Fn(&mut Rows)>);

struct Plan {
    removes: Vec<File>,
    adds: Vec<File>,
    intent: Intent,
    /// The partition whose rows it depends on; `None` = all.
    reads: Option<u8>,
    /// The operation as it would be done on rows.
    serial: Box<dyn Fn(&mut Rows)>,
}

fn plan(operation: &Operation, files: &[File], fresh: u32) -> Plan {
    let in_part = |part: u8| files.iter().filter(move |file| file.part == part).cloned().collect::<Vec<File>>();
    let new = |part: u8, rows: BTreeSet<u32>| File { path: fresh, vector: 0, part, rows };
    let row: BTreeSet<u32> = [fresh].into();
    let (removes, adds, is_blind, reads, serial): Parts = match *operation {
        Operation::Append(part) => {
            let serial = Box::new(move |rows: &mut Rows| {
                rows.entry(part).or_default().insert(fresh);
            });
            (vec![], vec![new(part, row)], true, None, serial)
        }
        Operation::Overwrite(part) => {
            let serial = Box::new(move |rows: &mut Rows| *rows = [(part, [fresh].into())].into());
            (files.to_vec(), vec![new(part, row)], false, None, serial)
        }
        Operation::Replace(part) => {
            let serial = Box::new(move |rows: &mut Rows| {
                rows.insert(part, [fresh].into());
            });
            (in_part(part), vec![new(part, row)], false, Some(part), serial)
        }
        Operation::Compact(part) => {
            let rows = in_part(part).into_iter().flat_map(|file| file.rows).collect();
            (in_part(part), vec![new(part, rows)], true, None, Box::new(|_: &mut Rows| {}))
        }
        Operation::Delete(part, index) => {
            let rows: Vec<(File, u32)> = in_part(part)
                .into_iter()
                .flat_map(|file| file.rows.clone().into_iter().map(move |row| (file.clone(), row)))
                .collect();
            match rows.get(index % rows.len().max(1)) {
                None => (vec![], vec![], false, Some(part), Box::new(|_: &mut Rows| {})),
                Some((file, row)) => {
                    let row = *row;
                    let left = file.rows.iter().copied().filter(|other| *other != row).collect();
                    let hidden = File { vector: fresh, rows: left, ..file.clone() };
                    let serial = Box::new(move |rows: &mut Rows| {
                        rows.entry(part).or_default().remove(&row);
                    });
                    (vec![file.clone()], vec![hidden], false, Some(part), serial)
                }
            }
        }
    };
    let intent = Intent { removes: removes.iter().map(File::key).collect(), is_blind, app_id: None };
    Plan { removes, adds, intent, reads, serial }
}

fn operations() -> impl Strategy<Value = Vec<(Operation, usize)>> {
    let part = 0_u8..3;
    let operation = prop_oneof![
        part.clone().prop_map(Operation::Append),
        part.clone().prop_map(Operation::Overwrite),
        part.clone().prop_map(Operation::Replace),
        part.clone().prop_map(Operation::Compact),
        (part, 0_usize..8).prop_map(|(part, index)| Operation::Delete(part, index)),
    ];
    prop::collection::vec((operation, 0_usize..4), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Commits planned on old versions and let through by the check leave what a serial execution in the order of
    /// their versions leaves: no row lost, doubled or risen from the dead.
    #[test]
    fn whatever_is_let_through_equals_a_serial_execution(operations in operations()) {
        let mut versions: Vec<Vec<File>> = vec![vec![]];
        let mut commits: Vec<(Vec<File>, Vec<File>)> = vec![];
        let mut expected = Rows::new();
        for (number, (operation, lag)) in operations.iter().enumerate() {
            let base = versions.len() - 1 - lag.min(&(versions.len() - 1));
            let plan = plan(operation, &versions[base], u32::try_from(number).unwrap() + 1);
            let fits = commits[base..].iter().enumerate().all(|(at, (removes, adds))| {
                let winner = Winner {
                    version: i64::try_from(base + at + 1).unwrap(),
                    adds_what_we_read: adds.iter().any(|file| plan.reads.is_none_or(|part| part == file.part)),
                    removes: removes.iter().map(File::key).collect(),
                    ..Winner::default()
                };
                check(&plan.intent, &winner).is_ok()
            });
            if !fits {
                continue;
            }
            let mut files = versions.last().cloned().unwrap_or_default();
            for removed in &plan.removes {
                let at = files.iter().position(|file| file.key() == removed.key());
                prop_assert!(at.is_some(), "{operation:?} removes a file that is gone");
                files.remove(at.unwrap());
            }
            files.extend(plan.adds.iter().cloned());
            (plan.serial)(&mut expected);
            expected.retain(|_, rows| !rows.is_empty());
            prop_assert_eq!(&rows_of(&files), &expected, "after {:?} planned on version {}", operation, base);
            let doubled = files.iter().map(|file| file.rows.len()).sum::<usize>();
            prop_assert_eq!(doubled, expected.values().map(BTreeSet::len).sum::<usize>());
            versions.push(files);
            commits.push((plan.removes, plan.adds));
        }
    }
}
